"""`targcc-gen job`: a job more in the spec, with its module and its test, or one less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.cli.options import Writing, project_option, writing_options
from targcc_gen.errors import InputError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from targcc_gen.cli.project import Project
    from targcc_gen.spec import Spec
    from targcc_gen.sync import Plan

_WHEN = ("cron", "every", "at", "manual", "fire_and_forget", "delayed")


def _complete_blueprint(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from targcc_gen.render.job.blueprints import blueprint_names

    return [CompletionItem(name) for name in blueprint_names() if name.startswith(incomplete)]


def _complete_job(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
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
        is_flag=True,
        help="With --every: count from the end of the run before.",
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
    click.option("--misfire-grace", metavar="DURATION", help="Slots older than this are not run."),
    click.option("--concurrency", type=int, help="At most so many runs at once on all nodes."),
    click.option(
        "--alert-on",
        metavar="EVENT",
        multiple=True,
        help='failure, success, missed or "slower than 5m". May be given more than once.',
    ),
    click.option("--email", metavar="ADDRESS", multiple=True, help="Who gets its alerts by mail."),
    click.option("--slack", metavar="URL", help="A Slack webhook that gets its alerts."),
    click.option("--teams", metavar="URL", help="A Teams workflow that gets its alerts."),
    click.option("--max-alerts-per-hour", type=int, help="At most so many alerts an hour."),
    click.option("--paused", is_flag=True, help="It starts out paused."),
    click.option(
        "--remove", is_flag=True, help="Take the job out of the spec instead, with its files."
    ),
)


def _job_options(function: Any) -> Any:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(short_help="Add a job, or remove one.")
@click.argument("name", shell_complete=_complete_job)
@_job_options
@writing_options
@project_option
def job(
    name: str,
    *,
    remove: bool,
    dry_run: bool,
    diff: bool,
    as_json: bool,
    project: Path | None,
    **options: Any,
) -> None:
    """Add the job NAME to the spec, with its module and its test.

    DailyReport, DailyReportJob, daily_report and "Daily Report" are one name. Exactly one option says when it runs.

    \b
    Example:
      targcc-gen job DailyReport --cron "0 2 * * *" --timezone Europe/London --blueprint report
      targcc-gen job SendWelcome --fire-and-forget --param user_id:int
      targcc-gen job --remove DailyReport
    """
    from targcc_gen.cli.project import open_project

    writing = Writing(dry_run=dry_run, diff=diff, as_json=as_json)
    if remove:
        given = [key for key, value in options.items() if value not in {None, False, ()}]
        if given:
            raise click.UsageError(f"--remove takes no --{given[0].replace('_', '-')}")
        _remove(open_project(project), name, writing)
    else:
        _add(open_project(project), name, options, writing)


def _add(project: Project, name: str, options: dict[str, Any], writing: Writing) -> None:
    from targcc_gen.cli.output.show import carry_out
    from targcc_gen.names import JobName
    from targcc_gen.spec import add_job, build_job, parse_spec

    key = JobName.parse(name).key
    _refuse_taken(project.spec, key)
    new = build_job(key, job_values(options))
    text = add_job(project.text, key, new)
    spec = parse_spec(text)
    plan = _plan(project, spec, key, text)
    from targcc_gen.cli.output.schedule_words import job_words, show_job

    words = job_words(spec, key)
    if not writing.as_json:
        show_job(words)
    written = carry_out(plan, writing, extra={"job": words})
    if written and not writing.as_json:
        path = next(change.path for change in plan.changes if "/jobs/" in change.path)
        given = "".join(f" --arg {name}=…" for name, param in new.params.items() if param.required)
        start = " --wait" if new.type != "delayed" else ""
        click.echo(f"Edit {path}, then: uv run targcc job run {key}{given}{start}")


def _refuse_taken(spec: Spec, key: str) -> None:
    """Command lines and file systems take two spellings for one job."""
    from targcc_gen.names import JobName, same_job

    for other in spec.jobs:
        if same_job(other, key) or JobName(other).module == JobName(key).module:
            raise InputError(
                f"there is a job {other} already",
                hint=f"choose another name, or change {other} in targcc.yaml and run: targcc-gen regenerate",
            )


def _plan(project: Project, spec: Spec, key: str, text: str) -> Plan:
    from targcc_gen.cli.project import SPEC_FILE
    from targcc_gen.render import Owner, Tree, TreeFile, render_job
    from targcc_gen.sync import make_plan

    edit = TreeFile(SPEC_FILE, text.encode(), Owner.SCAFFOLD, replaces=project.text.encode())
    return make_plan(Tree.of([*render_job(spec, key), edit], complete=False), project.root)


def job_values(options: dict[str, Any]) -> dict[str, Any]:
    """What a spec would say below the job's key, from the options of the command.

    Raises:
        click.UsageError: No option says when the job runs, or several do.
    """
    _check_when(options)
    kinds = {"manual": "manual", "fire_and_forget": "fire-and-forget", "delayed": "delayed"}
    kind = next((text for key, text in kinds.items() if options[key]), None)
    plain = (
        "cron", "every", "anchor", "at", "timezone", "display_name", "description", "blueprint", "procedure",
        "queue", "priority", "retries", "backoff", "timeout", "overlap", "concurrency",
    )  # fmt: skip
    values: dict[str, Any] = {key: options[key] for key in plain if options[key] is not None}
    if kind:
        values["type"] = kind
    if options["after_completion"]:
        values["after"] = "completion"
    if options["stable_name"]:
        values["name"] = options["stable_name"]
    if options["paused"]:
        values["paused"] = True
    values |= _misfire(options) | _alerts(options) | _params(options["params"])
    return _with_blueprint_defaults(values)


def _check_when(options: dict[str, Any]) -> None:
    given = [f"--{key.replace('_', '-')}" for key in _WHEN if options[key]]
    if not given:
        raise click.UsageError(
            "when does it run? --cron, --every or --at; or without a schedule --manual, --fire-and-forget or"
            " --delayed"
        )
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} contradict each other: choose one")


def _misfire(options: dict[str, Any]) -> dict[str, Any]:
    given = {"policy": options["misfire"], "grace": options["misfire_grace"]}
    misfire = {key: value for key, value in given.items() if value is not None}
    return {"misfire": misfire} if misfire else {}


def _alerts(options: dict[str, Any]) -> dict[str, Any]:
    given = {
        "on": list(options["alert_on"]) or None,
        "email": list(options["email"]) or None,
        "slack": options["slack"],
        "teams": options["teams"],
        "max_per_hour": options["max_alerts_per_hour"],
    }
    alerts = {key: value for key, value in given.items() if value is not None}
    return {"alerts": alerts} if alerts else {}


def _params(texts: Sequence[str]) -> dict[str, Any]:
    params: dict[str, str] = {}
    for text in texts:
        name, colon, kind = text.partition(":")
        if not colon or not name.strip() or not kind.strip():
            raise InputError(
                f'--param "{text}" is not NAME:TYPE',
                hint='write it like "user_id:int" or "since:date=2026-01-01"',
            )
        if name.strip() in params:
            raise InputError(f"--param {name.strip()} is given twice")
        params[name.strip()] = kind.replace("=", " = ", 1).strip() if "=" in kind else kind.strip()
    return {"params": params} if params else {}


def _with_blueprint_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """What a job of this kind needs, where nothing else was said."""
    from targcc_gen.render.job.blueprints import blueprint

    if "blueprint" not in values:
        return values
    defaults = dict(blueprint(values["blueprint"]).defaults)
    alerts = {**defaults.pop("alerts", {}), **values.get("alerts", {})}
    # Alerts that nobody gets are none.
    if any(alerts.get(channel) for channel in ("email", "slack", "teams")) or "alerts" in values:
        values = {**values, "alerts": alerts}
    return {**defaults, **values}


def _remove(project: Project, name: str, writing: Writing) -> None:
    from targcc_gen.cli.output.show import carry_out
    from targcc_gen.cli.project import SPEC_FILE
    from targcc_gen.render import Owner, Tree, TreeFile, job_paths
    from targcc_gen.spec import remove_job
    from targcc_gen.sync import make_plan

    key = find_job(project.spec, name)
    text = remove_job(project.text, key)
    edit = TreeFile(SPEC_FILE, text.encode(), Owner.SCAFFOLD, replaces=project.text.encode())
    paths = job_paths(project.spec, key)
    plan = make_plan(Tree.of([edit], complete=False, removed=paths), project.root)
    carry_out(plan, writing)
    kept = [
        change.path
        for change in plan.changes
        if change.action == "keep" and change.path == paths[0]
    ]
    if kept and not writing.as_json:
        click.echo(
            f"{key} runs as long as {kept[0]} is there: delete it, or its @job line, to stop that."
        )


def find_job(spec: Spec, name: str) -> str:
    """The key of the job that a person means, in any spelling.

    Raises:
        InputError: There is none.
    """
    from targcc_gen.names import JobName, same_job
    from targcc_gen.spec.value_errors import nearest

    wanted = JobName.parse(name).key
    for key in spec.jobs:
        if same_job(key, wanted):
            return key
    known = list(spec.jobs)
    hint = nearest(wanted, known) or (f"it has {', '.join(known)}" if known else "it has no jobs")
    raise InputError(f"no job {wanted} in targcc.yaml", hint=hint)
