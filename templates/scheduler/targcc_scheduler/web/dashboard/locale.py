"""Who looks at a page: by what they have chosen, else by what their browser says, else by the settings."""

from __future__ import annotations

import contextlib
from zoneinfo import ZoneInfo

from fastapi import Request

from ...core.languages import ENGLISH, Reader, catalogue, languages

LANGUAGE_COOKIE = "targcc_language"
ZONE_COOKIE = "targcc_zone"
"""The page's script writes it, and it is a name such as ``Asia/Jerusalem``."""


def reader_of(request: Request) -> Reader:
    """Who reads the answer to a request."""
    return Reader(catalogue(_language(request)), _zone(request.cookies.get(ZONE_COOKIE, "")))


def _language(request: Request) -> str:
    web = getattr(request.app.state, "targcc", None)
    wanted = [
        request.cookies.get(LANGUAGE_COOKIE, ""),
        *_accepted(request.headers.get("Accept-Language", "")),
        web.scheduler.settings.language if web is not None else "",
    ]
    return next((one for one in wanted if one in languages()), ENGLISH)


def _accepted(header: str) -> list[str]:
    """The languages of ``Accept-Language`` without their regions, the dearest first: ``he`` of ``he-IL, en;q=0.8``."""
    found = []
    for part in header.split(","):
        tag, _, weight = part.strip().lower().partition(";q=")
        with contextlib.suppress(ValueError):
            found.append((-float(weight or 1), tag.partition("-")[0]))
    return [language for _, language in sorted(found, key=lambda one: one[0])]


def _zone(name: str) -> ZoneInfo | None:
    with contextlib.suppress(
        ValueError, OSError, KeyError
    ):  # as `parse_zone` has it, without looking for the nearest name
        return ZoneInfo(name)
    return None
