"""Render pages: the Jinja environment and its values."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ...core import humanize
from ...core.humanize import NOTHING, clock, full, relative
from ...core.languages import (
    Catalogue,
    Words,
    catalogue,
    gettext,
    languages,
    marked,
    reader,
    translated,
    translated_in,
    translated_plural,
    zone_of_reader,
)
from ...core.states import RunState
from ...core.text import harmless, isolated
from ...features.accounts.roles import Principal, Role
from ...features.search.language import only
from ...kernel.queries.jobs import display_names
from ...project import current
from ...schedules.errors import CronError
from ...schedules.zones import parse_zone
from ..authentication import job_of
from ..state import get_web
from . import charts
from .charts import days, load, spark, strip
from .flash import FLASH_COOKIE, base_path, read_flash

# An instant as the `<time>` element of a page.


def time_tag(
    instant: datetime | None, now: datetime, zone: ZoneInfo, style: str = "clock"
) -> Markup:
    """A ``<time>`` element; its title has all of the instant, and the page's script keeps a relative one fresh.

    Args:
        instant: The instant; ``None`` shows a dash.
        now: What relative times count from.
        zone: In which to show it.
        style: ``clock``, ``relative``, ``both`` or ``full``.
    """
    if instant is None:
        return Markup('<span class="nothing">{}</span>').format(NOTHING)
    iso, title = instant.isoformat(timespec="seconds"), escape(full(instant, zone))
    tag = f'<time datetime="{iso}" title="{title}"'
    if style == "full":
        return Markup(f"{tag}>{title}</time>")  # noqa: S704 - texts in it are escaped
    at = escape(clock(instant, now, zone))
    if style == "clock":
        return Markup(f"{tag}>{at}</time>")  # noqa: S704
    relative_tag = f"{tag} data-relative>{escape(relative(instant, now))}</time>"
    if style == "relative":
        return Markup(relative_tag)  # noqa: S704
    return Markup(f'{tag}>{at}</time> <span class="soft">{relative_tag}</span>')  # noqa: S704


def beside(instant: datetime, own: str, now: datetime, zone: ZoneInfo) -> Markup:
    """The same instant by the clock that a job goes by, where that is another than the reader's; else nothing."""
    if own == zone.key:
        return Markup("")
    at = clock(instant, now, ZoneInfo(own))
    said = gettext("%(time)s in %(zone)s", time=at, zone=own)
    return Markup(' <span class="soft">{}</span>').format(said)


# Words of the code, as the pages say them.

ACTIONS = Words(
    {
        "retry": marked("Retry"),
        "cancel": marked("Cancel"),
        "delete": marked("Delete"),
        "run-now": marked("Run now"),
        "pause": marked("Pause their jobs"),
        "queue": marked("Move to another queue"),
        "priority": marked("Change the priority"),
        "discard": marked("Discard from the inbox"),
    }
)
"""What can be done to many runs."""
BULK_STATES = Words(
    {
        "running": marked("running"),
        "done": marked("done"),
        "stopped": marked("stopped"),
        "failed": marked("failed"),
    }
)
"""How far an operation on many runs is."""
STANDINGS = Words(
    {
        "open": marked("open"),
        "snoozed": marked("snoozed"),
        "muted": marked("muted"),
        "done": marked("done"),
    }
)
"""What has been done about a failure."""
OVERLAPS = Words(
    {
        "skip": marked("the next slot is skipped"),
        "queue": marked("the next slot waits"),
        "allow": marked("the next slot runs beside it"),
    }
)
"""What happens to a slot that comes while the job is busy."""
MISFIRES = Words(
    {
        "run_once": marked("the newest missed slot is run"),
        "skip": marked("missed slots are not run"),
        "run_all": marked("every missed slot is run"),
    }
)
"""What happens to slots that passed during an outage."""
DELIVERIES = Words(
    {
        "waiting": marked("waiting"),
        "delivered": marked("delivered"),
        "failed": marked("failed"),
    }
)
"""How far a message to a webhook is."""


# Rendering pages: the Jinja environment, and the values that every template gets.

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
        "trend_charts": charts,
        "spark": spark,
        "strip": strip,
        "count": humanize.count,
        "listed": humanize.listed,
        "day_and_month": humanize.day_and_month,
        "weekday": humanize.weekday,
        "action_words": ACTIONS,
        "bulk_states": BULK_STATES,
        "standing_words": STANDINGS,
        "overlap_words": OVERLAPS,
        "misfire_words": MISFIRES,
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
            time=cache(partial(time_tag, now=now, zone=frame.zone)),
            beside=partial(beside, now=now, zone=frame.zone),
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
