"""`targcc-gen cron`: explain an expression and list its next runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from datetime import tzinfo
    from zoneinfo import ZoneInfo

    from targcc_scheduler.schedules.cron import CronSchedule
    from targcc_scheduler.schedules.intervals import EverySchedule

    from targcc_gen.parity.readings import Difference

_YEARS = timedelta(days=731)
_WITNESSES = 5


@click.command(short_help="Explain a schedule and list its next runs.")
@click.argument("expression", metavar="[EXPR]", required=False)
@click.option("--every", metavar="DURATION", help="Interval instead of EXPR, such as 3d or 7h.")
@click.option(
    "--anchor",
    metavar="TIME",
    help="With --every: time of the first run, such as 2026-01-02T05:10.",
)
@click.option(
    "--timezone",
    default="UTC",
    show_default=True,
    help="Time zone of the schedule, such as Europe/London.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Number of runs to show.",
)
@click.option("--after", metavar="TIME", help="Start time, such as 2026-03-28T12:00. Default: now.")
@click.option(
    "--compare",
    type=click.Choice(["ncrontab", "vixie", "quartz"]),
    help="List the differences to this scheduler's times in the next two years.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def cron(
    expression: str | None,
    *,
    every: str | None,
    anchor: str | None,
    timezone: str,
    count: int,
    after: str | None,
    compare: str | None,
    as_json: bool,
) -> None:
    """Explain a schedule, list its next runs, and show the effect of clock changes.

    EXPR is a cron expression: five fields, or six with the seconds first, read as Hangfire reads it.

    \b
    Example:
      targcc-gen cron "0 2 * * *" --timezone Europe/London
      targcc-gen cron --every 3d --anchor 2026-01-02T05:10 --timezone Asia/Jerusalem
      targcc-gen cron "0 0 13 * 5" --compare vixie
    """
    from targcc_scheduler.schedules.cron import CronSchedule
    from targcc_scheduler.schedules.errors import CronError
    from targcc_scheduler.schedules.zones import parse_zone

    from targcc_gen.errors import ScheduleError

    try:
        zone = parse_zone(timezone)
        schedule = _schedule(expression, every, anchor, zone)
    except CronError as error:
        raise ScheduleError(error.frame()) from None
    if compare and not isinstance(schedule, CronSchedule):
        raise click.UsageError("--compare takes a cron expression")
    start = _moment(after, zone)
    answer = _answer(schedule, zone, start, count)
    if compare and isinstance(schedule, CronSchedule):
        answer["comparison"] = _comparison(schedule, compare, zone, start)
    if as_json:
        from targcc_gen.cli.json_output import print_json

        print_json(answer)
    else:
        _print(answer)


def _schedule(
    expression: str | None, every: str | None, anchor: str | None, zone: tzinfo
) -> CronSchedule | EverySchedule:
    """Return the schedule to explain.

    Raises:
        click.UsageError: Both an expression and `--every` are given, or neither.
    """
    from targcc_scheduler.schedules.cron import CronSchedule
    from targcc_scheduler.schedules.intervals import EverySchedule
    from targcc_scheduler.schedules.words import parse_duration

    if (expression is None) == (every is None):
        raise click.UsageError("give a cron expression, or --every")
    if expression is not None:
        if anchor is not None:
            raise click.UsageError("--anchor goes with --every")
        return CronSchedule.parse(expression)
    first = _moment(anchor, zone) if anchor is not None else None
    return EverySchedule(parse_duration(every or ""), first)


def _moment(text: str | None, zone: tzinfo) -> datetime:
    """Return the moment to count from: now, or a time that may name its own offset."""
    from datetime import UTC

    from targcc_gen.errors import OptionError

    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise OptionError(
            f'"{text}" is not a time', hint="Write 2026-03-28, or 2026-03-28T12:00."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _answer(
    schedule: CronSchedule | EverySchedule, zone: tzinfo, start: datetime, count: int
) -> dict[str, Any]:
    """Describe a schedule as a dict: words, next runs, clock changes."""
    from datetime import UTC
    from itertools import islice

    from targcc_scheduler.schedules.cron import CronSchedule
    from targcc_scheduler.schedules.dst import clock_changes, notes_on

    day, year = timedelta(days=1), timedelta(days=365)
    runs = list(islice(schedule.iter(start, zone), count))
    last = runs[-1] if runs else start
    nights = [c.at for c in clock_changes(zone, start - day, min(last, start + 20 * year) + day)]
    return {
        "expression": str(schedule),
        **({"normal": schedule.normal} if isinstance(schedule, CronSchedule) else {}),
        "description": schedule.describe(),
        "timezone": str(zone),
        "next": [
            {
                "local": run.isoformat(),
                "utc": run.astimezone(UTC).isoformat(),
                "near_clock_change": any(abs(run - night) <= day / 2 for night in nights),
            }
            for run in runs
        ],
        "notes": notes_on(schedule, zone, start, min(max(year, last - start), 20 * year)),
    }


def _comparison(
    schedule: CronSchedule, dialect: str, zone: ZoneInfo, start: datetime
) -> dict[str, Any]:
    """Find times at which another scheduler runs the same text and this one does not, or the reverse; return the first few."""
    from datetime import UTC
    from itertools import islice

    from targcc_scheduler.schedules.errors import CronError

    from targcc_gen.parity.readings import differences, read_as

    try:
        reading = read_as(str(schedule), dialect)
    except CronError as error:
        return {"dialect": dialect, "refused": error.message, "hint": error.allowed}

    def witness(difference: Difference) -> dict[str, str]:
        moment = difference.moment
        utc = moment.astimezone(UTC).isoformat()
        return {"local": moment.isoformat(), "utc": utc, "only": difference.only}

    witnesses = islice(differences(schedule, reading, zone, start, start + _YEARS), _WITNESSES)
    return {
        "dialect": dialect,
        "description": reading.describe(),
        "differences": [witness(difference) for difference in witnesses],
    }


def _print(answer: dict[str, Any]) -> None:
    """Print an answer for people."""
    click.echo(
        f"{answer['expression'].strip()} runs {answer['description']} ({answer['timezone']})"
    )
    for place, run in enumerate(answer["next"]):
        mark = "  near a clock change" if run["near_clock_change"] else ""
        click.echo(f"  {'next' if not place else '':8}{_run_words(run)}{mark}")
    for note in answer["notes"]:
        click.echo(f"  {'note':8}{note}")
    if "comparison" in answer:
        _print_comparison(answer["comparison"])


def _run_words(run: dict[str, Any]) -> str:
    """Write "Wed 25 Nov 2026 02:00 +02  (Wed 00:00 UTC)"; seconds only if they are not zero."""
    local, utc = datetime.fromisoformat(run["local"]), datetime.fromisoformat(run["utc"])
    clock = "%H:%M:%S" if local.second else "%H:%M"
    return f"{local:%a %d %b %Y {clock}} {_offset_words(local)}  ({utc:%a {clock}} UTC)"


def _offset_words(local: datetime) -> str:
    """Write +02, or +10:30."""
    digits = f"{local:%z}"
    return digits[:3] if digits[3:] == "00" else f"{digits[:3]}:{digits[3:5]}"


def _print_comparison(comparison: dict[str, Any]) -> None:
    dialect = comparison["dialect"]
    if "refused" in comparison:
        click.echo(f"  {'compare':8}{dialect} refuses it: {comparison['refused']}")
        return
    if not comparison["differences"]:
        click.echo(f"  {'compare':8}{dialect} runs it at the same times for the next two years")
        if dialect != "vixie":
            click.echo(f"  {'':8}(on clock changes, as the program that uses it handles them)")
        return
    click.echo(f"  {'compare':8}{dialect} runs it {comparison['description']}; where that differs:")
    for difference in comparison["differences"]:
        local = datetime.fromisoformat(difference["local"])
        who = "only here" if difference["only"] == "cronos" else f"only {dialect}"
        clock = "%H:%M:%S" if local.second else "%H:%M"
        click.echo(f"  {'':8}{local:%a %d %b %Y {clock}} {_offset_words(local)}  {who}")
