"""Findings of a history beside run times: jobs that are dead, started by hand, too long, or failing each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from targcc_gen.evidence.model import Finding, latest_moments, moment_text
from targcc_gen.evidence.readings import Slots, kind_of, match, missed, when_of
from targcc_gen.sources.model import ImportedJob, Past
from targcc_gen.sources.past_runs import OldRun

Due = Callable[[datetime, datetime], int]
"""Count the due times of a job between two moments."""

_DEAD_AFTER = timedelta(days=30)
_DEAD_SLOTS = 3
_FEW = 3
_NEAR = 120
"""Minutes between starts that count as the same time of day."""
_MANY = 5
_NEARLY_ALL = 0.95
_MOSTLY = 0.8
_HANGING = timedelta(hours=20)
_LATE_DAYS = 28
_PROCEDURE_LIMIT = range(29, 33)
_DAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
_PAUSED = "it comes over paused"


def dead(
    due: Due | None, last: datetime | None, alive: datetime | None, *, active: bool, alone: bool
) -> Finding | None:
    """Return a finding about a job that has missed its scheduled times.

    Args:
        due: Counts the scheduled starts between two moments; None without a schedule.
        last: The job's last run.
        alive: The last known activity of the old server.
        active: Whether the row is switched on.
        alone: Whether no other job shows activity of the server since.
    """
    if due is None or last is None or alive is None or not active or is_awake(last, alive):
        return None
    count = due(last, alive)
    if count < _DEAD_SLOTS:
        return None
    text = f"it has not run since {moment_text(last)}: {count:,} times of its schedule passed without a start until {moment_text(alive)}"
    if alone:
        return Finding("dead", f"{text}; no other job ran since either", (last,))
    return Finding("dead", text, (last,), _PAUSED)


def is_awake(last: datetime | None, alive: datetime | None) -> bool:
    """Return whether a job ran within the last month of the server's known activity."""
    return last is not None and alive is not None and alive - last < _DEAD_AFTER


def due_by_slots(slots: Slots) -> Due:
    """Count the times that a schedule names between two moments."""
    return lambda after, until: missed(slots, after, until)


def due_by_interval(every: timedelta) -> Due:
    """Count the intervals between two moments."""
    return lambda after, until: (until - after) // every


def by_hand(
    runs: Sequence[OldRun], slots: Slots | None, *, manual_only: bool
) -> tuple[Finding | None, list[OldRun]]:
    """Split runs into starts by hand and other runs.

    Runs by another user than most runs, at times outside of the schedule, are starts by hand. All runs of a manual job are by hand.

    Args:
        runs: The runs, in order.
        slots: The times of the job's schedule, if it names times.
        manual_only: Whether the job has no schedule.

    Returns:
        A finding about the starts by hand, if there are enough, and the other runs.
    """
    if not runs:
        return None, []
    people = Counter(run.by for run in runs)
    manual: list[OldRun] = []
    if len(people) > 1 and not manual_only:
        usual = people.most_common(1)[0][0]
        starts = [run.started for run in runs]
        strays = set(starts) if slots is None else set(match(starts, slots).strays)
        manual = [run for run in runs if run.started in strays and run.by and run.by != usual]
    if manual_only:
        manual = list(runs)
    elif len(manual) * 2 > len(runs):
        manual = []
    if len(manual) < _FEW:
        return None, list(runs)
    chosen = {id(run) for run in manual}
    left = [run for run in runs if id(run) not in chosen]
    starts = [run.started for run in manual]
    names = ", ".join(
        name for name, _ in Counter(run.by for run in manual if run.by).most_common(3)
    )
    who = f" by {names}" if names else ""
    text = f"{len(manual):,} of {len(runs):,} starts were by hand{who}{_habit(starts)}"
    if manual_only:
        text = f"it has no schedule, and was started {len(manual):,} times{who}{_habit(starts)}"
    return Finding("by hand", text, latest_moments(starts)), left


def _habit(starts: Sequence[datetime]) -> str:
    """Describe the common weekday or time of day of the starts; empty without a pattern."""
    weekday, count = Counter(start.weekday() for start in starts).most_common(1)[0]
    words = f", {count:,} of them on {_DAYS[weekday]}" if count >= _MOSTLY * len(starts) else ""
    clocks = sorted(start.hour * 60 + start.minute for start in starts)
    low, high = clocks[len(clocks) // 10], clocks[-1 - len(clocks) // 10]
    if high == low:
        words += f", at {_clock(low)}"
    elif high - low <= _NEAR:
        words += f", between {_clock(low)} and {_clock(high)}"
    return words


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def switched_off(runs: Sequence[OldRun], *, active: bool, alive: datetime | None) -> Finding | None:
    """Return a finding about an inactive row with recent runs."""
    if active or alive is None:
        return None
    lately = [run.started for run in runs if alive - run.started < _DEAD_AFTER]
    if len(lately) < _FEW:
        return None
    text = f"the row is off, and yet there were {len(lately):,} starts in the last {_DEAD_AFTER.days} days"
    return Finding("off but running", text, latest_moments(lately))


def too_long(runs: Sequence[OldRun], interval: timedelta | None) -> Finding | None:
    """Return a finding about runs that took longer than the time to the next run."""
    if interval is None:
        return None
    timed = [run for run in runs if run.seconds is not None]
    long = [run for run in timed if timedelta(seconds=run.seconds or 0) > interval]
    if not long:
        return None
    longest = max(run.seconds or 0 for run in long)
    starts = [run.started for run in runs]
    gaps = sorted(later - earlier for earlier, later in pairwise(starts))
    usual = f"; in truth it started every {span(gaps[len(gaps) // 2])}" if gaps else ""
    text = (
        f"{len(long):,} of {len(timed):,} runs took longer than the {span(interval)} to the next time, the longest"
        f" {span(timedelta(seconds=longest))}{usual}"
    )
    chosen = "a time that comes while it still runs is left out here (overlap: skip)"
    return Finding("too long", text, latest_moments([run.started for run in long]), chosen)


def keeps_failing(runs: Sequence[OldRun], past: Past) -> Finding | None:
    """Return a finding about a job whose runs fail, nearly all of them."""
    failed = [run for run in runs if run.failed]
    if len(failed) < _MANY or len(failed) < _NEARLY_ALL * len(runs):
        return None
    good = [run.started for run in runs if not run.failed]
    last = f"; the last success was on {moment_text(good[-1])}" if good else "; none succeeded"
    error, count = past.log.errors.most_common(1)[0] if past.log.errors else ("", 0)
    note = f'; most often it said "{error}" ({count:,} times)' if error else ""
    limit = ""
    if all(run.seconds in _PROCEDURE_LIMIT for run in failed):
        limit = "; all ended at 30 s, where the old server gave up on a procedure"
    text = f"{len(failed):,} of its last {len(runs):,} runs failed{last}{limit}{note}"
    return Finding("keeps failing", text, latest_moments([run.started for run in failed]))


def month_end(job: ImportedJob, runs: Sequence[OldRun]) -> Finding | None:
    """Return a finding about failed runs of a day or more at a month's end.

    The old runner could not compute the next time and hung until the month ended.
    """
    when, kind = when_of(job), kind_of(job)
    late = when is not None and kind in {"monthly", "annually"} and when.day > _LATE_DAYS
    hung = [
        run
        for run in runs
        if run.failed and run.seconds is not None and timedelta(seconds=run.seconds) >= _HANGING
    ]
    if not late or not hung:
        return None
    text = (
        f"{len(hung):,} failures of {span(timedelta(seconds=min(run.seconds or 0 for run in hung)))} to"
        f" {span(timedelta(seconds=max(run.seconds or 0 for run in hung)))} at the end of a short month: the old runner could"
        " not compute the next time, and no job of its runner ran until the month was over"
    )
    return Finding(
        "month end",
        text,
        latest_moments([run.started for run in hung]),
        "that fault does not come over",
    )


def hanging(job: ImportedJob, runs: Sequence[OldRun]) -> Finding | None:
    """Return a finding about other failed runs of a day or more: the server stood still, or found the job in process."""
    if month_end(job, runs):
        return None
    hung = [
        run
        for run in runs
        if run.failed and run.seconds is not None and timedelta(seconds=run.seconds) >= _HANGING
    ]
    if not hung:
        return None
    text = f"{len(hung):,} runs ended as failures after {span(_HANGING)} or more: the old server found the job in process"
    return Finding("hung", text, latest_moments([run.started for run in hung]))


def every_finding(*match: Finding | None) -> Iterator[Finding]:
    """Yield the findings that are not None."""
    yield from (finding for finding in match if finding is not None)


def span(length: timedelta) -> str:
    """Format a duration in two units: ``2 d 4 h``, ``12 min``."""
    seconds = round(length.total_seconds())
    parts = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            parts.append(f"{seconds // size} {unit}")
            seconds %= size
    return " ".join(parts[:2]) or "0 s"
