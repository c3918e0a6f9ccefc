"""Rendering pages: the Jinja environment, and the values that every template gets."""

from __future__ import annotations

import contextlib
import hashlib
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ...core import humanize
from ...core.languages.catalogue import Catalogue, catalogue, languages
from ...core.languages.isolation import harmless, isolated
from ...core.languages.reader import (
    reader,
    translated,
    translated_in,
    translated_plural,
    zone_of_reader,
)
from ...core.states import RunState
from ...project import current
from ...queries.jobs import display_names
from ...schedules import CronError, parse_zone
from ...search.terms import only
from ...security.roles import Principal, Role
from ..admission import job_of
from ..state import get_web
from . import time_tag
from .charts import trend
from .charts.days import days
from .charts.load import load
from .charts.spark import spark
from .charts.strip import strip
from .flash import FLASH_COOKIE, base_path, read_flash
from .reading import words

STATIC = Path(__file__).parent / "static"


def is_refresh(request: Request) -> bool:
    """Whether htmx asks for the content of an open page again."""
    return request.headers.get("HX-Request") == "true"


@cache
def environment() -> Environment:
    """The templates; values are escaped, and an undefined one is an error."""
    env = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        finalize=_harmless,
    )
    env.policies["ext.i18n.trimmed"] = True
    env.install_gettext_callables(translated, translated_plural, newstyle=True, pgettext=translated_in)  # type: ignore[attr-defined]
    env.filters |= {
        "bytes": humanize.size,
        "duration": humanize.duration,
        "milliseconds": humanize.milliseconds,
        "percent": humanize.percent,
        "last_line": humanize.last_line,
        "arguments": humanize.arguments,
        "who": humanize.who,
        "sentence": humanize.sentence,
        "pathquote": partial(quote, safe=""),
        "bdi": _bdi,
        "isolated": _isolated,
        "translated": translated,
    }
    env.globals |= {
        "days": days,
        "load": load,
        "trend_charts": trend,
        "spark": spark,
        "strip": strip,
        "count": humanize.count,
        "listed": humanize.listed,
        "day_and_month": humanize.day_and_month,
        "weekday": humanize.weekday,
        "action_words": words.ACTIONS,
        "bulk_states": words.BULK_STATES,
        "standing_words": words.STANDINGS,
        "overlap_words": words.OVERLAPS,
        "misfire_words": words.MISFIRES,
        "script_words": humanize.in_scripts,
        "state_words": humanize.STATE_WORDS,
        "state_help": humanize.STATE_HELP,
        "States": RunState,
        "asset": asset,
        "looking_for": looking_for,
    }
    return env


def _harmless(value: object) -> object:
    """What a template shows; a text of somebody does not turn around what stands beside it."""
    return harmless(value) if type(value) is str else value


def _bdi(text: object) -> Markup:
    """A text of somebody, with its own direction."""
    return Markup("<bdi>{}</bdi>").format(text if isinstance(text, Markup) else harmless(str(text)))


def _isolated(text: object) -> str:
    """The same where there are no elements, as in a title."""
    return isolated(str(text), reader().catalogue.direction)


@cache
def asset(name: str) -> str:
    """A static file's name with a digest of its content, so that browsers may cache it without limit."""
    mark = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"static/{name}?v={mark}"


def looking_for(**wanted: object) -> str:
    """The query of the runs page for these terms: ``looking_for(job="DailyReport", state="failed")``."""
    return urlencode({"q": str(only(**wanted))})


def zone_asked(request: Request) -> ZoneInfo:
    """The zone in which a page shows its times: that of the address, such as ``?zone=Asia/Jerusalem``, else the reader's."""
    with contextlib.suppress(CronError):
        if name := request.query_params.get("zone"):
            return parse_zone(name)
    return zone_of_reader(current().timezone)


class Frame:
    """What every template needs to know about the request it answers.

    Args:
        request: The request.
        principal: Who is signed in; ``None`` on pages for everybody.
    """

    def __init__(self, request: Request, principal: Principal | None) -> None:
        self.request = request
        self.principal = principal
        self.project = current()
        self.base = base_path(request)
        self.zone = zone_asked(request)
        self.language = reader().catalogue
        self.flash = read_flash(request)
        self.fragment = is_refresh(request)
        web = getattr(request.app.state, "targcc", None)
        self.host_login: bool = web is not None and web.host_login
        self.trouble: str = web.trouble.rstrip(".") if web is not None else ""

    @property
    def layout(self) -> str:
        """The template that a page extends: the whole layout, or only the content when htmx refreshes it."""
        return "frames/fragment.html" if self.fragment else "frames/layout.html"

    @property
    def other_languages(self) -> list[Catalogue]:
        """Those in which the page could be read instead."""
        return [catalogue(one) for one in languages() if one != self.language.language]

    @property
    def here(self) -> str:
        """The address of this page, to come back to."""
        url = self.request.url
        return url.path + (f"?{url.query}" if url.query else "")

    def may(self, role: str) -> bool:
        """Whether who is signed in may do what needs ``role``: with the job that the page is about, else with some."""
        if self.principal is None:
            return False
        job = job_of(self.request)
        if job is not None:
            return self.principal.covers(Role(role), job)
        return self.principal.covers_some(Role(role))

    @property
    def is_limited(self) -> bool:
        """Whether who is signed in sees some jobs only."""
        return self.principal is not None and self.principal.grants is not None


def render(
    request: Request, template: str, principal: Principal, status: int = 200, **values: Any
) -> Response:
    """A page for somebody who is signed in."""
    web = get_web(request)
    frame = Frame(request, principal)
    now = web.scheduler.clock.now()
    html = (
        environment()
        .get_template(template)
        .render(
            frame=frame,
            now=now,
            time=cache(partial(time_tag.time_tag, now=now, zone=frame.zone)),
            beside=partial(time_tag.beside, now=now, zone=frame.zone),
            display=display_names(web.scheduler.definitions),
            definitions=web.scheduler.definitions,
            broken=web.scheduler.broken,
            **values,
        )
    )
    response = HTMLResponse(html, status)
    if frame.flash is not None:
        response.delete_cookie(FLASH_COOKIE, path="/")
    return response
