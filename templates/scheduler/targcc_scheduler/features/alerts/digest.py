"""The digest: open issues, results since the previous digest, and slots of the next 24 hours.

Imported when a digest is due: it reads most tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.states import RunState
from ...kernel import pauses as calendar_model
from ...kernel.jobs.definition import JobDefinition
from ...kernel.pauses import Window
from ...kernel.queries.overview import Overview, overview
from ..triage.issues import Issue, issues
from .message import Notice, Section, one_line, pages_of

_DAY = timedelta(days=1)
_LOST_AFTER = 20.0
_MOST = 20
_CROWDED = 3
_PAGES = {"failure": "inbox", "queue": "system", "node": "system", "no-server": "system"}


async def digest_of(
    connection: AsyncConnection,
    definitions: Collection[JobDefinition],
    between: tuple[datetime, datetime],
    *,
    page: str,
    zone: ZoneInfo,
) -> Notice:
    """Build the digest.

    Args:
        connection: A connection for reading.
        definitions: The jobs.
        between: Due time of the previous digest, and the current time.
        page: Dashboard address.
        zone: Time zone for times in the digest.
    """
    since, now = between
    summary = await overview(connection, definitions, now, back=now - since, ahead=_DAY)
    concerns = await issues(connection, definitions, now, lost_after=_LOST_AFTER)
    closed = await calendar_model.since(connection, since)
    names = {job.name: job.display_name for job in definitions}
    sections = (
        Section("Needs attention", tuple(_wrong(concerns, page))),
        Section(
            f"Since {humanize.clock(since, now, zone)}",
            (*_happened(summary, names, page), *_were_closed(closed, now, zone, page)),
        ),
        Section(
            "The next 24 hours",
            (*_comes(summary, now, zone, page), *_will_be_closed(closed, now, zone, page)),
        ),
    )
    number = len(concerns)
    verb = "item needs" if number == 1 else "items need"
    title = f"{number} {verb} attention" if number else "Nothing needs attention"
    return Notice(
        kind="digest",
        job="Digest",
        run_id=None,
        title=one_line(title),
        facts=tuple(_numbers(summary)),
        message=concerns[0].title if number else "",
        details="",
        url=page,
        links=pages_of(page),
        sections=tuple(section for section in sections if section.lines),
        thread="digest",
        key=f"digest-{now.timestamp():.0f}",
        at=now,
    )


def _numbers(overview: Overview) -> Iterable[tuple[str, str]]:
    for name, state in (
        ("Succeeded", RunState.SUCCEEDED),
        ("Failed", RunState.FAILED),
        ("Missed", RunState.MISSED),
    ):
        yield name, f"{overview.count(state):,}"


def _wrong(concerns: Iterable[Issue], page: str) -> Iterable[tuple[str, str]]:
    wrong = list(concerns)
    for concern in wrong[:_MOST]:
        place = _PAGES.get(concern.kind)
        about = (
            pages_of(page, cause=concern.subject)
            if place == "inbox"
            else pages_of(page, job=concern.subject)
        )
        yield f"{concern.title}: {concern.detail}", (
            f"{page}/{place}" if place == "system" else about[0][1]
        )
    if len(wrong) > _MOST:
        yield f"and {len(wrong) - _MOST} more", f"{page}/inbox"


def _happened(overview: Overview, names: dict[str, str], page: str) -> Iterable[tuple[str, str]]:
    bad = {
        state: Counter({job: n for (job, s), n in overview.window.by_job.items() if s is state})
        for state in (RunState.FAILED, RunState.MISSED)
    }
    recovered = {job.name for job in overview.recovered}
    for verb, counts in (("failed", bad[RunState.FAILED]), ("was missed", bad[RunState.MISSED])):
        for job, number in counts.most_common(_MOST):
            times = "" if number == 1 else f" {number:,} times"
            again = ", and works again" if job in recovered else ""
            yield f"{names.get(job, job)} {verb}{times}{again}", pages_of(page, job=job)[0][1]


def _comes(
    overview: Overview, now: datetime, zone: ZoneInfo, page: str
) -> Iterable[tuple[str, str]]:
    if not overview.slots:
        return
    yield f"{humanize.count(len(overview.slots), 'run')} by schedule", f"{page}/jobs"
    [(minute, most)] = Counter(slot.replace(second=0) for slot in overview.slots).most_common(1)
    if most >= _CROWDED:
        yield f"{most} of them at {humanize.clock(minute, now, zone)}", f"{page}/jobs"


def _were_closed(
    closed: Iterable[Window], now: datetime, zone: ZoneInfo, page: str
) -> Iterable[tuple[str, str]]:
    """Yield the maintenance windows that have ended."""
    for window in closed:
        if window.ends_at <= now:
            yield _in_words(window, now, zone, "nothing ran"), f"{page}/calendars"


def _will_be_closed(
    closed: Iterable[Window], now: datetime, zone: ZoneInfo, page: str
) -> Iterable[tuple[str, str]]:
    """Yield the maintenance windows that are active, or start within a day."""
    for window in closed:
        if window.starts_at < now + _DAY and window.ends_at > now:
            yield _in_words(window, now, zone, "nothing starts"), f"{page}/calendars"


def _in_words(window: Window, now: datetime, zone: ZoneInfo, what: str) -> str:
    where = f" in {', '.join(window.queues)}" if window.queues else ""
    begins, ends = (humanize.clock(at, now, zone) for at in (window.starts_at, window.ends_at))
    return one_line(f"Maintenance, {begins} to {ends}: {what}{where} ({window.reason})")
