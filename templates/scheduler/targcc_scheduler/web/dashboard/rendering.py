"""Render pages: the Jinja environment, its filters and the values of templates."""

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
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
)
from markupsafe import Markup, escape

from ...core import humanize
from ...core.humanize import NOTHING, clock, full, relative
from ...core.identity import Principal, Role, page_cookie
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
from ...core.search_language import only
from ...core.states import RunState
from ...core.text import harmless, isolated
from ...kernel.audit_sentences import action_word, describe_linked, rest
from ...kernel.feature import NavItem, Pages, installed, is_installed, parts
from ...kernel.queries.jobs import display_names
from ...project import current
from ...schedules.errors import CronError
from ...schedules.zones import parse_zone
from ..authentication import job_of
from ..state import get_web
from .charts import days, load, spark, strip, trend_bars
from .flash import FLASH_COOKIE, base_path, read_flash

# Instants as `<time>` elements.


def time_tag(
    instant: datetime | None, now: datetime, zone: ZoneInfo, style: str = "clock"
) -> Markup:
    """Return a ``<time>`` element whose title is the full instant. The page's script updates relative times.

    Args:
        instant: Instant; ``None`` shows a dash.
        now: Current time, the base of relative times.
        zone: Time zone to show the instant in.
        style: ``clock``, ``relative``, ``both`` or ``full``.
    """
    if instant is None:
        return Markup('<span class="nothing">{}</span>').format(NOTHING)
    iso, title = instant.isoformat(timespec="seconds"), escape(full(instant, zone))
    tag = f'<time datetime="{iso}" title="{title}"'
    if style == "full":
        return Markup(f"{tag}>{title}</time>")  # noqa: S704 - texts in it are escaped
    at = "" if style == "relative" else f"{tag}>{escape(clock(instant, now, zone))}</time>"
    if style == "clock":
        return Markup(at)  # noqa: S704 - texts in it are escaped
    ago = f"{tag} data-relative>{escape(relative(instant, now))}</time>"
    return Markup(f'{at} <span class="soft">{ago}</span>' if at else ago)  # noqa: S704 - as above


def beside(instant: datetime, own: str, now: datetime, zone: ZoneInfo) -> Markup:
    """Return the instant in the job's zone ``own``; empty if the reader's zone is the same."""
    if own == zone.key:
        return Markup("")
    at = clock(instant, now, ZoneInfo(own))
    text = gettext("%(time)s in %(zone)s", time=at, zone=own)
    return Markup(' <span class="soft">{}</span>').format(text)


# Words of the pages for values of the code.

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
"""Bulk actions on runs."""
BULK_STATES = Words(
    {
        "running": marked("running"),
        "done": marked("done"),
        "stopped": marked("stopped"),
        "failed": marked("failed"),
    }
)
"""States of a bulk operation."""
STANDINGS = Words(
    {
        "open": marked("open"),
        "snoozed": marked("snoozed"),
        "muted": marked("muted"),
        "done": marked("resolved"),
    }
)
"""Triage states of a failure."""
OVERLAPS = Words(
    {
        "skip": marked("the next slot is skipped"),
        "queue": marked("the next slot waits"),
        "allow": marked("the next slot runs in parallel"),
    }
)
"""Policies for a slot that is due while the job is running."""
MISFIRES = Words(
    {
        "run_once": marked("the newest missed slot is run"),
        "skip": marked("missed slots are not run"),
        "run_all": marked("every missed slot is run"),
    }
)
"""Policies for slots missed during an outage."""
ROLES = Words(
    {
        Role.VIEWER: marked("viewer"),
        Role.OPERATOR: marked("operator"),
        Role.ADMIN: marked("admin"),
    }
)
"""Built-in roles. A custom role has its own name."""
DELIVERIES = Words(
    {
        "waiting": marked("waiting"),
        "delivered": marked("delivered"),
        "failed": marked("failed"),
    }
)
"""States of a delivery to a webhook."""


# Rendering: the Jinja environment and the values of every template.

NAVIGATION = (
    NavItem("", "overview", marked("Overview"), limited=True, shortcut="o"),
    NavItem("/jobs", "jobs", marked("Jobs"), limited=True, shortcut="j"),
    NavItem("/runs", "runs", marked("Runs"), limited=True, shortcut="r"),
    NavItem("/system", "system", marked("Servers"), shortcut="s"),
)
"""Links to the pages of the frame."""
STATIC = Path(__file__).parent / "static"


@cache
def navigation() -> tuple[NavItem, ...]:
    """Return the links of the frame and of the features, in order."""
    links = list(NAVIGATION)
    waiting = [part.nav for _, part in parts(Pages) if part.nav is not None]
    while waiting:
        keys = [link.key for link in links]
        link = next((link for link in waiting if link.after in keys), waiting[0])
        waiting.remove(link)
        links.insert(keys.index(link.after) + 1 if link.after in keys else len(links), link)
    return tuple(links)


def is_refresh(request: Request) -> bool:
    """Return whether htmx refreshes the content of an open page."""
    return request.headers.get("HX-Request") == "true"


@cache
def environment() -> Environment:
    """Return the Jinja environment: values are escaped, an undefined value is an error."""
    env = Environment(
        loader=ChoiceLoader([PackageLoader(__package__), PrefixLoader(_feature_templates())]),
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
        "audit_sentence": describe_linked,
        "audit_rest": rest,
        "action_word": action_word,
        "role_word": role_word,
    }
    env.globals |= {
        "days": days,
        "load": load,
        "spark": spark,
        "strip": strip,
        "trend_bars": trend_bars,
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
        "is_installed": is_installed,
    }
    return env


def _feature_templates() -> dict[str, BaseLoader]:
    """Map the names of features to the loaders of their folder ``templates``."""
    return {feature.name: FileSystemLoader(feature.folder / "templates") for feature in installed()}


def _harmless(value: object) -> object:
    """Show direction characters of a text as numbers if they could reorder the surrounding text; return a non-text value unchanged."""
    return harmless(value) if type(value) is str else value


def _bdi(text: object) -> Markup:
    """Wrap a foreign text in ``<bdi>``, so that the text's direction does not affect the surrounding text."""
    return Markup("<bdi>{}</bdi>").format(text if isinstance(text, Markup) else harmless(str(text)))


def _isolated(text: object) -> str:
    """Isolate a text's direction with characters, where no elements are allowed, as in a title."""
    return isolated(str(text), reader().catalogue.direction)


@cache
def asset(name: str) -> str:
    """Return a static file's address with a digest of the content, so that browsers may cache the file without limit."""
    mark = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"static/{name}?v={mark}"


def role_word(name: str) -> str:
    """Return the word for a built-in role in the reader's language, or the name of a custom role."""
    return ROLES[Role(name)] if name in set(Role) else name


def looking_for(**wanted: object) -> str:
    """Return the query string of the runs page for search terms: ``looking_for(job="DailyReport", state="failed")``."""
    return urlencode({"q": str(only(**wanted))})


def zone_asked(request: Request) -> ZoneInfo:
    """Return the time zone of a page: the zone in the address, such as ``?zone=Asia/Jerusalem``, else the reader's zone."""
    with contextlib.suppress(CronError):
        if name := request.query_params.get("zone"):
            return parse_zone(name)
    return zone_of_reader(current().timezone)


class Frame:
    """Values of a request for every template.

    Args:
        request: Request that the template answers.
        principal: Signed-in principal; ``None`` on public pages.
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
        self.by_token = self.host_login and page_cookie(self.project.package) in request.cookies
        self.trouble: str = web.trouble.rstrip(".") if web is not None else ""

    @property
    def layout(self) -> str:
        """Return the template that a page extends: the whole layout, or only the content for an htmx refresh."""
        return "frames/fragment.html" if self.fragment else "frames/layout.html"

    @property
    def other_languages(self) -> list[Catalogue]:
        """Return the languages besides the page's language."""
        return [
            catalogue(language) for language in languages() if language != self.language.language
        ]

    @property
    def here(self) -> str:
        """Return the address of this page, to return to."""
        url = self.request.url
        return url.path + (f"?{url.query}" if url.query else "")

    def may(self, role: str) -> bool:
        """Return whether the principal has ``role``: for the page's job, or for at least a single job if the page has none."""
        if self.principal is None:
            return False
        job = job_of(self.request)
        if job is not None:
            return self.principal.covers(Role(role), job)
        return self.principal.covers_some(Role(role))

    @property
    def navigation(self) -> list[NavItem]:
        """Return the links that the principal may follow."""
        return [
            link
            for link in navigation()
            if (link.limited or not self.is_limited) and (not link.needs or self._is(link.needs))
        ]

    def _is(self, role: str) -> bool:
        """Return whether the principal has ``role`` for all jobs."""
        return self.principal is not None and self.principal.covers(Role(role))

    @property
    def is_limited(self) -> bool:
        """Return whether the principal has a custom role and sees some jobs only."""
        return self.principal is not None and self.principal.grants is not None


def render(
    request: Request, template: str, principal: Principal, status: int = 200, **values: Any
) -> Response:
    """Render a page for a signed-in principal."""
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
