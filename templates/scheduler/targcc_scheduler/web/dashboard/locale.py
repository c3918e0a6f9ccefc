"""Language and time zone of a page's reader. The language comes from the cookie, else from the browser, else from the settings."""

from __future__ import annotations

import contextlib
from zoneinfo import ZoneInfo

from fastapi import Request

from ...core.languages import ENGLISH, Reader, catalogue, languages

LANGUAGE_COOKIE = "targcc_language"
ZONE_COOKIE = "targcc_zone"
"""Cookie, written by the page's script, with the name of a zone such as ``Asia/Jerusalem``."""


def reader_of(request: Request) -> Reader:
    """Return the language and time zone of a request's reader."""
    return Reader(catalogue(_language(request)), _zone(request.cookies.get(ZONE_COOKIE, "")))


def _language(request: Request) -> str:
    web = getattr(request.app.state, "targcc", None)
    candidates = [
        request.cookies.get(LANGUAGE_COOKIE, ""),
        *_accepted(request.headers.get("Accept-Language", "")),
        web.scheduler.settings.language if web is not None else "",
    ]
    return next((candidate for candidate in candidates if candidate in languages()), ENGLISH)


def _accepted(header: str) -> list[str]:
    """Return the languages of ``Accept-Language`` without regions, highest weight first: ``he``, ``en`` for ``he-IL, en;q=0.8``."""
    entries = []
    for part in header.split(","):
        tag, _, weight = part.strip().lower().partition(";q=")
        with contextlib.suppress(ValueError):
            entries.append((-float(weight or 1), tag.partition("-")[0]))
    return [language for _, language in sorted(entries, key=lambda one: one[0])]


def _zone(name: str) -> ZoneInfo | None:
    with contextlib.suppress(
        ValueError, OSError, KeyError
    ):  # like `parse_zone`, without the search for the nearest name
        return ZoneInfo(name)
    return None
