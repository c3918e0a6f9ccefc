"""Reference model of TaskManager: check every minute, with one rule per schedule type. Slow, for tests only."""

from datetime import UTC, datetime, timedelta

MINUTE = timedelta(minutes=1)


def add_months(moment, months):
    """Add months like .NET's ``AddMonths``."""
    for _ in range(months):
        year, month = (
            (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
        )
        day = moment.day
        while True:
            try:
                moment = moment.replace(year=year, month=month, day=day)
                break
            except ValueError:
                day -= 1
    return moment


def set_next_run_time(kind, w, n, last_run, now):
    """Return a row's next run by the documented rule of its type; raise ValueError where the old runner fails."""
    if kind == "Annually":
        next_run = datetime(now.year, w.month, w.day, w.hour, w.minute)  # noqa: DTZ001
        return add_months(next_run, 12) if next_run < now else next_run
    if kind == "Monthly":
        next_run = datetime(now.year, now.month, w.day, w.hour, w.minute)  # noqa: DTZ001
        return add_months(next_run, 1) if next_run < now else next_run
    if kind in {"Daily", "Weekly"}:
        next_run = datetime(now.year, now.month, now.day, w.hour, w.minute)  # noqa: DTZ001
        return next_run + timedelta(days=1) if next_run < now else next_run
    if n <= 0:
        raise ValueError(127)
    if kind == "CyclicDay":
        next_run = last_run.replace(hour=w.hour, minute=w.minute, second=0, microsecond=0)
        while not next_run > now:
            next_run += timedelta(days=n)
        return next_run
    if kind == "CyclicHour":
        next_run = last_run.replace(minute=w.minute, second=0, microsecond=0)
        while not next_run > now:
            next_run += timedelta(hours=n)
        return next_run
    unit = {"CyclicMin": timedelta(minutes=1), "CyclicSec": timedelta(seconds=1)}[kind]
    return max(last_run + n * unit, now)


def looks(zone, start, end):
    """Yield every minute's check of the clock, half a minute past it: the instant of the minute, and the wall-clock time."""
    moment = start.astimezone(UTC).replace(second=0, microsecond=0)
    while moment < end:
        yield moment, (moment + MINUTE / 2).astimezone(zone).replace(tzinfo=None, fold=0)
        moment += MINUTE


def naive_runs(kind, w, n, next_run, minutes):
    """Yield the minutes in which a row runs; runs take no time. While the end of a run cannot be stored, the row stays in process.

    ``minutes`` are the values of :func:`looks`.
    """
    in_process = None
    for minute, now in minutes:
        if in_process is None:
            if not next_run < now:
                continue
            yield minute
            in_process = now
        try:
            next_run, in_process = set_next_run_time(kind, w, n, in_process, now), None
        except ValueError:
            continue
