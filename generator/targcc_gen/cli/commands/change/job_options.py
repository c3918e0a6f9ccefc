"""The options of `targcc-gen job`, and how a shell completes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.errors import InputError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _complete_blueprint(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from targcc_gen.render.job.blueprints import blueprint_names

    return [CompletionItem(name) for name in blueprint_names() if name.startswith(incomplete)]


def complete_job(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The project's jobs that begin with what has been typed."""
    from click.shell_completion import CompletionItem

    from targcc_gen.cli.project import open_project

    try:
        jobs = open_project(context.params.get("project")).spec.jobs
    except InputError:
        return []
    return [CompletionItem(key) for key in jobs if key.startswith(incomplete)]


_OPTIONS: Sequence[Callable[[Any], Any]] = (
    click.option("--cron", metavar="EXPR", help='When: a cron expression in quotes, "0 2 * * *".'),
    click.option(
        "--every", metavar="DURATION", help="When: again and again, such as 15m or 1h30m."
    ),
    click.option("--anchor", metavar="TIME", help="With --every: count from this date and time."),
    click.option(
        "--after-completion",
        "after",
        flag_value="completion",
        help="With --every: count from the end of the run before.",
    ),
    click.option(
        "--after-start",
        "after",
        flag_value="start",
        help="With --every: count from the start of the run before; at once when it took longer.",
    ),
    click.option(
        "--after",
        "follows",
        metavar="JOB",
        multiple=True,
        shell_complete=complete_job,
        help="When: after each run of that job that succeeds. May be given more than once.",
    ),
    click.option("--at", metavar="TIME", help="When: once, such as 2026-12-31T02:00."),
    click.option("--manual", is_flag=True, help="When: only when somebody starts it."),
    click.option("--fire-and-forget", is_flag=True, help="When: whenever code enqueues it."),
    click.option("--delayed", is_flag=True, help="When: whenever code schedules it for later."),
    click.option(
        "--timezone", metavar="ZONE", help="The zone of its schedule.  [default: the project's]"
    ),
    click.option(
        "--blueprint",
        metavar="NAME",
        shell_complete=_complete_blueprint,
        help="What its file starts out as; see targcc-gen blueprints.  [default: blank]",
    ),
    click.option(
        "--procedure", metavar="NAME", help="With --blueprint stored-procedure: what it calls."
    ),
    click.option(
        "--param",
        "params",
        metavar="NAME:TYPE[=DEFAULT]",
        multiple=True,
        help="A typed argument: user_id:int, since:date=2026-01-01. May be given more than once.",
    ),
    click.option("--display-name", metavar="TEXT", help="The name people see."),
    click.option("--description", metavar="TEXT", help="What it does, in a sentence."),
    click.option(
        "--name", "stable_name", metavar="TEXT", help="The name its history is kept under."
    ),
    click.option("--queue", metavar="NAME", help="The queue it waits in."),
    click.option("--priority", type=int, help="Higher goes first in its queue."),
    click.option("--retries", type=int, help="New attempts after a failed one."),
    click.option("--backoff", metavar="DURATION", help="The wait before the first of them."),
    click.option("--timeout", metavar="DURATION", help="How long an attempt may take."),
    click.option(
        "--overlap",
        type=click.Choice(["skip", "queue", "allow"]),
        help="When a slot comes while it still runs.",
    ),
    click.option(
        "--misfire",
        type=click.Choice(["run_once", "skip", "run_all"]),
        help="When slots passed while nothing was running.",
    ),
    click.option(
        "--misfire-grace", metavar="DURATION", help="Slots older than this are not run; or none."
    ),
    click.option("--concurrency", type=int, help="At most so many runs at once on all nodes."),
    click.option(
        "--limit",
        "limits",
        metavar="LIMIT",
        multiple=True,
        help="At most so many runs under way at once (2), or started in a while (100/min). May be given more than once.",
    ),
    click.option(
        "--limit-key",
        metavar="PARAM",
        help="With --limit: for each value of this argument.  [default: for all runs together]",
    ),
    click.option(
        "--limit-burst",
        type=int,
        help="With --limit 100/min: so many may start at once after a pause.",
    ),
    click.option(
        "--limit-weight", type=int, help="With --limit 10: a run counts as so many.  [default: 1]"
    ),
    click.option(
        "--unique",
        metavar="PARAM",
        multiple=True,
        help="While a run with this argument waits or runs, another is not made. May be given more than once; true: with all of them.",
    ),
    click.option(
        "--unique-scope",
        metavar="SCOPE",
        help="With --unique: until a run starts (queued), is over (running), or for a time after success (1h).",
    ),
    click.option(
        "--on-duplicate",
        metavar="WHAT",
        help='With --unique: skip, replace, "debounce 30s" or "throttle 1m".',
    ),
    click.option(
        "--expires-in",
        metavar="DURATION",
        help="A run that has not begun so long after it was due is cancelled.",
    ),
    click.option(
        "--isolation",
        type=click.Choice(["thread", "process"]),
        help="process: in a process of its own, which can be stopped and harms no other run.",
    ),
    click.option(
        "--memory-limit",
        type=int,
        metavar="MIB",
        help="Ends a run, in its own process, that uses more.",
    ),
    click.option(
        "--calendar",
        metavar="NAME",
        multiple=True,
        help="A calendar of the spec: it does not start while that is closed. May be given more than once.",
    ),
    click.option(
        "--on-holiday",
        type=click.Choice(["skip", "next", "previous"]),
        help="What becomes of a slot then: skip it, or run on the next or previous working day.",
    ),
    click.option(
        "--alert-on",
        metavar="EVENT",
        multiple=True,
        help='failure, success, missed or "slower than 5m". May be given more than once.',
    ),
    click.option("--email", metavar="ADDRESS", multiple=True, help="Who gets its alerts by mail."),
    click.option("--slack", metavar="URL", help="A Slack webhook that gets its alerts."),
    click.option("--teams", metavar="URL", help="A Teams workflow that gets its alerts."),
    click.option("--webhook", metavar="URL", help="An address that gets its alerts as JSON."),
    click.option("--max-alerts-per-hour", type=int, help="At most so many alerts an hour."),
    click.option("--paused", is_flag=True, help="It starts out paused."),
    click.option(
        "--remove", is_flag=True, help="Take the job out of the spec instead, with its files."
    ),
    click.option(
        "--rename",
        metavar="NEW",
        help="Give the job another name instead; its files, edits and history go along.",
    ),
)


def job_options(function: Any) -> Any:
    """Put the options on a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
