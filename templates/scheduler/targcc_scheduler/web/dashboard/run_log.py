"""Log of a run on the run's page."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup, escape

from ...core.languages import zone_of_reader
from ...core.text import visible
from ...kernel.queries import runs
from ...kernel.queries.models import LogLine, Run
from ...kernel.queries.runs import lines_after
from ...project import current
from ...scheduler import Scheduler
from ..problems import Problem
from ..streams import event, last_event, log_as_text, run_events
from .common import SchedulerOf, Viewer, id_of
from .page_route import PageRoute

# Log lines as HTML: colours become classes, addresses become links, all else is escaped.
#
# Colours follow SGR (ECMA-48, the codes after ``ESC [``): the sixteen named colours, bold, dim, italic, underline. A 256-colour or true-colour code
# becomes the nearest of the sixteen. Every other control sequence is removed; a partial escape is shown.

_SEQUENCE = re.compile(
    "\x1b\\[([0-?]*)[ -/]*([@-~])"  # CSI: parameters, intermediates, a final character
    "|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)"  # OSC: a title, a terminal link
    "|\x1b[@-Z\\\\^_]"
)
_ADDRESS = re.compile(r"https?://[^\s<>\"'`\x00-\x20\x7f-\x9f]+")
_DIGITS = 3
_USUAL = 20
"""Most characters of the parameters of a sequence whose parsed form is kept; ``38;2;255;255;255`` has 16."""
_AFTER = ".,;:!?"
_PAIRS = {")": "(", "]": "[", "}": "{"}
_STYLES = {1: "a-bold", 2: "a-dim", 3: "a-italic", 4: "a-under"}
_ENDS = {22: ("a-bold", "a-dim"), 23: ("a-italic",), 24: ("a-under",)}
_PALETTE = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0)),
    *((0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0)),
    *((92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255)),
)
_CUBE = (0, 95, 135, 175, 215, 255)
_GREYS = 232
_EXTENDED = {38: "f", 48: "b"}
_DEFAULTS = {39: "f", 49: "b"}
_QUIET_LEVELS = {"info", "debug"}


def lines_html(lines: Iterable[LogLine], zone: ZoneInfo) -> Markup:
    """Render log lines as list items."""
    return Markup("\n").join(_item(line, zone) for line in lines)


def _item(line: LogLine, zone: ZoneInfo) -> Markup:
    level = line.level.lower()
    shown = Markup("") if level in _QUIET_LEVELS else Markup("<b>{}</b> ").format(level)
    clock = line.at.astimezone(zone).strftime("%H:%M:%S")
    return Markup(
        '<li class="l-{}" data-key="{}"><time datetime="{}">{}</time> {}<bdi>{}</bdi></li>'
    ).format(level, line.id, line.at.isoformat(), clock, shown, message_html(line.message))


def message_html(text: str) -> Markup:
    """Render a message with its colours and links."""
    if "\x1b" not in text:
        return _linked(text)
    parts = []  # texts that are escaped already: a log may have hundreds of thousands
    for classes, part in _coloured(text):
        linked = _linked(part)
        parts.append(f'<span class="{" ".join(classes)}">{linked}</span>' if classes else linked)
    return Markup("".join(parts))  # noqa: S704 - each part is escaped


def _coloured(text: str) -> Iterator[tuple[list[str], str]]:
    """Split a text at its control sequences; yield the CSS classes and the text of each part."""
    style: dict[str, str] = {}
    place = 0
    for match in _SEQUENCE.finditer(text):
        if match.start() > place:
            yield list(style.values()), text[place : match.start()]
        place = match.end()
        if match[2] == "m":
            _obey(style, match[1])
    if place < len(text):
        yield list(style.values()), text[place:]


@lru_cache(maxsize=256)  # a log has few different sequences
def _codes(parameters: str) -> tuple[int, ...]:
    given = parameters.replace(":", ";").split(";")
    return tuple(int(text) if text.isdecimal() and len(text) <= _DIGITS else 0 for text in given)


def _obey(style: dict[str, str], parameters: str) -> None:
    """Apply an SGR sequence to the style. A code of more than three digits counts as 0."""
    parse = _codes if len(parameters) <= _USUAL else _codes.__wrapped__
    codes = deque(parse(parameters))
    while codes:
        code = codes.popleft()
        if code == 0:
            style.clear()
        elif code in _STYLES:
            style[_STYLES[code]] = _STYLES[code]
        elif code in _ENDS:
            for name in _ENDS[code]:
                style.pop(name, None)
        elif code in _EXTENDED:
            _colour(style, _EXTENDED[code], _extended(codes))
        elif code in _DEFAULTS:
            style.pop(_DEFAULTS[code], None)
        else:
            _named_colour(style, code)


def _named_colour(style: dict[str, str], code: int) -> None:
    for ground, first, bright in (("f", 30, 90), ("b", 40, 100)):
        if first <= code < first + 8:
            _colour(style, ground, code - first)
        elif bright <= code < bright + 8:
            _colour(style, ground, code - bright + 8)


def _colour(style: dict[str, str], ground: str, number: int | None) -> None:
    if number is not None:
        style[ground] = f"a-{ground}{number}"


def _extended(codes: deque[int]) -> int | None:
    """Return the nearest of the sixteen colours for a 256-colour or RGB code; remove the parsed parameters from ``codes``."""
    kind = codes.popleft() if codes else None
    if kind == 5 and codes:  # noqa: PLR2004 - ECMA-48's numbers
        return _of_256(codes.popleft())
    if kind == 2 and len(codes) >= 3:  # noqa: PLR2004
        red, green, blue = codes.popleft(), codes.popleft(), codes.popleft()
        return _nearest(red, green, blue)
    codes.clear()
    return None


def _of_256(number: int) -> int:
    """Map a colour of xterm's 256 to the sixteen. Xterm's table has the sixteen, a cube of six by six by six, and 24 greys."""
    sixteen = len(_PALETTE)
    if number < sixteen:
        return number
    if number < _GREYS:
        rest = number - sixteen
        return _nearest(_CUBE[rest // 36], _CUBE[rest // 6 % 6], _CUBE[rest % 6])
    grey = 8 + (min(number, 255) - _GREYS) * 10
    return _nearest(grey, grey, grey)


def _nearest(*wanted: int) -> int:
    return min(
        range(len(_PALETTE)),
        key=lambda one: sum((a - b) ** 2 for a, b in zip(_PALETTE[one], wanted, strict=True)),
    )


def _linked(text: str) -> Markup:
    """Escape a text and turn its http and https addresses into links."""
    if "://" not in text:
        return escape(visible(text, lines=True))
    parts: list[str] = []
    place = 0
    for match in _ADDRESS.finditer(text):
        address = _without_the_sentence(match[0])
        end = match.start() + len(address)
        parts.append(escape(visible(text[place : match.start()], lines=True)))
        link = escape(visible(address))
        parts.append(
            f'<a href="{link}" rel="noopener noreferrer nofollow" target="_blank">{link}</a>'
        )
        place = end
    parts.append(escape(visible(text[place:], lines=True)))
    return Markup("".join(parts))  # noqa: S704 - each part is escaped


def _without_the_sentence(address: str) -> str:
    """Strip the punctuation and closing brackets of the surrounding sentence from an address."""
    unopened = {end: address.count(end) - address.count(begin) for end, begin in _PAIRS.items()}
    length = len(address)
    while (last := address[length - 1]) in _AFTER or unopened.get(last, 0) > 0:
        if last in unopened:
            unopened[last] -= 1
        length -= 1
    return address[:length]


# Log on a run's page: first the end of the log, then new lines as they are written; earlier lines on request.

router = APIRouter(route_class=PageRoute, include_in_schema=False)
MOST_LINES = 1_000
"""Most log lines in an answer."""


@router.get("/runs/{run_id}/live")
async def live(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    run_id: int,
    after: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """The events of a run, with its lines as HTML."""
    run = await _run(scheduler, run_id)
    place = id_of(last_event(request)) or after
    zone = zone_of_reader(current().timezone)  # read here, since the stream runs without a reader
    as_html = partial(_as_html, zone=zone)
    return run_events(request, principal, run_id, run.job, after=place, lines=as_html)


@router.get("/runs/{run_id}/lines")
async def lines(
    _: Viewer,
    scheduler: SchedulerOf,
    run_id: int,
    after: Annotated[int, Query(ge=0)] = 0,
    before: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """The lines after one, or the last ones before one, as HTML."""
    if before is None:
        log_lines = await scheduler.read(lambda db: lines_after(db, run_id, after, MOST_LINES))
    else:
        log_lines = await scheduler.read(lambda db: runs.log_lines(db, run_id, MOST_LINES, before))
    return HTMLResponse(await asyncio.to_thread(shown, log_lines))


@router.get("/runs/{run_id}/log.txt")
async def download(_: Viewer, scheduler: SchedulerOf, run_id: int) -> Response:
    """The whole log as a file."""
    await _run(scheduler, run_id)
    return log_as_text(scheduler, run_id)


async def _run(scheduler: Scheduler, run_id: int) -> Run:
    run = await scheduler.read(lambda db: runs.get_run(db, run_id))
    if run is None:
        raise Problem(404, "No such run", f"There is no run {run_id}.")
    return run


def shown(lines: Sequence[LogLine]) -> str:
    """Render log lines as HTML, in the reader's zone."""
    return lines_html(lines, zone_of_reader(current().timezone))


def _as_html(found: Iterable[LogLine], zone: ZoneInfo) -> str:
    lines = list(found)
    return event("log", lines_html(lines, zone), lines[-1].id)
