"""`targcc-gen job`: add, rename or remove a job, with its module and its test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.cli.options import Writing, project_option, writing_options
from targcc_gen.errors import InputError, JobTakenError, OptionError, UnknownJobError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from targcc_gen.cli.project import Project
    from targcc_gen.spec import Spec
    from targcc_gen.sync import Plan


# Find a job by name, and check that a new name is free.


def find_job(project: Project, name: str) -> str:
    """Return the key of a job, given its name in any spelling.

    Raises:
        InputError: The spec has no such job.
    """
    from targcc_gen.names import JobName, same_job
    from targcc_gen.spec.errors import nearest

    wanted = JobName.parse(name).key
    for key in project.spec.jobs:
        if same_job(key, wanted):
            return key
    known = list(project.spec.jobs)
    hint = nearest(wanted, known) or (f"it has {', '.join(known)}" if known else "it has no jobs")
    raise UnknownJobError(f"no job {wanted} in targcc.yaml", hint=hint)


def refuse_taken(spec: Spec, key: str) -> None:
    """Refuse a key that command lines or file systems would confuse with the key of an existing job."""
    from targcc_gen.names import JobName, same_job

    for other in spec.jobs:
        if same_job(other, key) or JobName(other).module == JobName(key).module:
            raise JobTakenError(
                f"there is a job {other} already",
                hint=f"choose another name, or change {other} in targcc.yaml and run: targcc-gen regenerate",
            )


# Options of `targcc-gen job`, and their completion in a shell.


def _complete_blueprint(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from targcc_gen.render.blueprints import blueprint_names

    return [CompletionItem(name) for name in blueprint_names() if name.startswith(incomplete)]


def complete_job(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a job's key in a shell."""
    from click.shell_completion import CompletionItem

    from targcc_gen.cli.project import open_project

    try:
        jobs = open_project(context.params.get("project")).spec.jobs
    except InputError:
        return []
    return [CompletionItem(key) for key in jobs if key.startswith(incomplete)]


_OPTIONS: Sequence[Callable[[Any], Any]] = (
    click.option(
        "--cron", metavar="EXPR", help='Schedule: a cron expression in quotes, "0 2 * * *".'
    ),
    click.option(
        "--every", metavar="DURATION", help="Schedule: an interval, such as 15m or 1h30m."
    ),
    click.option(
        "--anchor", metavar="TIME", help="With --every: count intervals from this date and time."
    ),
    click.option(
        "--after-completion",
        "after",
        flag_value="completion",
        help="With --every: count from the end of the previous run.",
    ),
    click.option(
        "--after-start",
        "after",
        flag_value="start",
        help="With --every: count from the start of the previous run; start at once when that run took longer.",
    ),
    click.option(
        "--after",
        "follows",
        metavar="JOB",
        multiple=True,
        shell_complete=complete_job,
        help="Schedule: after each successful run of this job. May be repeated.",
    ),
    click.option("--at", metavar="TIME", help="Schedule: once, such as 2026-12-31T02:00."),
    click.option("--manual", is_flag=True, help="Schedule: none; people start the job."),
    click.option("--fire-and-forget", is_flag=True, help="Schedule: none; code enqueues the job."),
    click.option(
        "--delayed", is_flag=True, help="Schedule: none; code schedules the job for later."
    ),
    click.option(
        "--timezone", metavar="ZONE", help="Time zone of the schedule.  [default: the project's]"
    ),
    click.option(
        "--blueprint",
        metavar="NAME",
        shell_complete=_complete_blueprint,
        help="Blueprint of the job's file; see targcc-gen blueprints.  [default: blank]",
    ),
    click.option(
        "--procedure",
        metavar="NAME",
        help="With --blueprint stored-procedure: name of the procedure.",
    ),
    click.option(
        "--param",
        "params",
        metavar="NAME:TYPE[=DEFAULT]",
        multiple=True,
        help="Typed argument: user_id:int, since:date=2026-01-01. May be repeated.",
    ),
    click.option("--display-name", metavar="TEXT", help="Name of the job on pages."),
    click.option("--description", metavar="TEXT", help="Description of the job in one sentence."),
    click.option("--name", "stable_name", metavar="TEXT", help="Key of the job's history."),
    click.option("--queue", metavar="NAME", help="Queue of the job."),
    click.option("--priority", type=int, help="Priority within the queue; higher runs first."),
    click.option("--retries", type=int, help="Maximum number of retries of a run."),
    click.option("--backoff", metavar="DURATION", help="Wait before the first retry."),
    click.option("--timeout", metavar="DURATION", help="Time limit of an attempt."),
    click.option(
        "--overlap",
        type=click.Choice(["skip", "queue", "allow"]),
        help="Policy for a slot that comes during an earlier run.",
    ),
    click.option(
        "--misfire",
        type=click.Choice(["run_once", "skip", "run_all"]),
        help="Policy for slots that passed while no server was up.",
    ),
    click.option(
        "--misfire-grace", metavar="DURATION", help="Maximum age of a slot to run, or none."
    ),
    click.option(
        "--concurrency", type=int, help="Maximum number of simultaneous runs on all servers."
    ),
    click.option(
        "--limit",
        "limits",
        metavar="LIMIT",
        multiple=True,
        help="Limit of runs at once (2), or of starts in a time (100/min). May be repeated.",
    ),
    click.option(
        "--limit-key",
        metavar="PARAM",
        help="With --limit: count each value of this argument separately.  [default: all runs together]",
    ),
    click.option(
        "--limit-burst",
        type=int,
        help="With --limit 100/min: maximum number of starts at once after a pause.",
    ),
    click.option(
        "--limit-weight", type=int, help="With --limit 10: weight of a run.  [default: 1]"
    ),
    click.option(
        "--unique",
        metavar="PARAM",
        multiple=True,
        help="Unique by this argument: no second run while a run with the same value waits or runs. May be repeated; true: by all arguments.",
    ),
    click.option(
        "--unique-scope",
        metavar="SCOPE",
        help="With --unique: hold the key until the run starts (queued), until it ends (running), or for a time after success (1h).",
    ),
    click.option(
        "--on-duplicate",
        metavar="WHAT",
        help='With --unique: policy for a second run: skip, replace, "debounce 30s" or "throttle 1m".',
    ),
    click.option(
        "--expires-in",
        metavar="DURATION",
        help="Cancel a run that has not started this long after its due time.",
    ),
    click.option(
        "--isolation",
        type=click.Choice(["thread", "process"]),
        help="process: run in a separate process, which can be stopped without harm to other runs.",
    ),
    click.option(
        "--memory-limit",
        type=int,
        metavar="MIB",
        help="Memory limit of a run in its own process; a run above the limit is ended.",
    ),
    click.option(
        "--calendar",
        metavar="NAME",
        multiple=True,
        help="Calendar of the spec: the job does not start while the calendar is closed. May be repeated.",
    ),
    click.option(
        "--on-holiday",
        type=click.Choice(["skip", "next", "previous"]),
        help="With --calendar: skip a slot on a closed day, or run it on the next or previous working day.",
    ),
    click.option(
        "--alert-on",
        metavar="EVENT",
        multiple=True,
        help='Event to alert about: failure, success, missed or "slower than 5m". May be repeated.',
    ),
    click.option(
        "--email", metavar="ADDRESS", multiple=True, help="Recipients of the job's alerts by mail."
    ),
    click.option("--slack", metavar="URL", help="Slack webhook for the job's alerts."),
    click.option("--teams", metavar="URL", help="Teams workflow for the job's alerts."),
    click.option("--webhook", metavar="URL", help="URL that receives the job's alerts as JSON."),
    click.option("--max-alerts-per-hour", type=int, help="Maximum number of alerts per hour."),
    click.option("--paused", is_flag=True, help="Create the job paused."),
    click.option("--remove", is_flag=True, help="Remove the job from the spec, with its files."),
    click.option(
        "--rename",
        metavar="NEW",
        help="Rename the job, with its files, edits and history.",
    ),
)


def job_options(function: Any) -> Any:
    """Add the options of `targcc-gen job` to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


# Add a job.

_WHEN = {
    **{name: f"--{name}" for name in ("cron", "every", "at", "manual", "delayed")},
    "follows": "--after",
    "fire_and_forget": "--fire-and-forget",
}
"""The options that choose when a job runs."""
_LIMITS = 'write "--limit 2" for so many at once, "--limit 100/min" for so many in a while, or both'


@click.command(short_help="Add, rename or remove a job.")
@click.argument("name", shell_complete=complete_job)
@job_options
@writing_options
@project_option
def job(
    name: str,
    *,
    remove: bool,
    rename: str | None,
    dry_run: bool,
    diff: bool,
    as_json: bool,
    project: Path | None,
    **options: Any,
) -> None:
    """Add the job NAME to the spec, with its module and its test.

    DailyReport, DailyReportJob, daily_report and "Daily Report" are the same name. Exactly one schedule option is required.

    \b
    Example:
      targcc-gen job DailyReport --cron "0 2 * * *" --timezone Europe/London --blueprint report
      targcc-gen job SendWelcome --fire-and-forget --param user_id:int
      targcc-gen job CheckOrders --after ImportOrders
      targcc-gen job SyncTenant --manual --param tenant_id:int --limit 2 --limit-key tenant_id
      targcc-gen job DailyReport --rename MorningReport
      targcc-gen job DailyReport --remove

    --rename renames class, file, test and the key in targcc.yaml, and keeps edits and the history in the database. --remove moves
    files with your edits into .targcc/removed, where they do not run. targcc-gen restore NAME brings the job back with these
    files. Of a job without edits, nothing is kept.
    """
    from targcc_gen.cli.project import open_project

    writing = Writing(dry_run=dry_run, diff=diff, as_json=as_json)
    alone = "--remove" if remove else "--rename" if rename is not None else ""
    given = [key for key, value in options.items() if value not in {None, False, ()}]
    if alone and (given or (remove and rename is not None)):
        other = (given or ["rename"])[0]
        command = click.get_current_context().command
        shown = next(param.opts[0] for param in command.params if param.name == other)
        raise click.UsageError(f"{alone} takes no {shown}")
    if rename is not None:

        rename_job_of(open_project(project, writes=not dry_run), name, rename, writing)
    elif remove:

        remove_job_of(open_project(project, writes=not dry_run), name, writing)
    else:
        _add(open_project(project, writes=not dry_run), name, options, writing)


def _add(project: Project, name: str, options: dict[str, Any], writing: Writing) -> None:
    from targcc_gen.cli.plans import carry_out
    from targcc_gen.names import JobName
    from targcc_gen.spec import add_job, build_job, parse_spec

    key = JobName.parse(name).key
    refuse_taken(project.spec, key)
    follows = [find_job(project, parent) for parent in options["follows"]]
    new = build_job(key, job_values(options | {"follows": follows}))
    text = add_job(project.text, key, new)
    spec = parse_spec(text)
    plan = _plan(project, spec, key, text)
    from targcc_gen.cli.schedule_words import job_words, show_job

    words = job_words(spec, key)
    if not writing.as_json:
        show_job(words)
    written = carry_out(plan, writing, extra={"job": words})
    if written and not writing.as_json:
        path = next(change.path for change in plan.changes if "/jobs/" in change.path)
        given = "".join(f" --arg {name}=…" for name, param in new.params.items() if param.required)
        start = " --wait" if new.type != "delayed" else ""
        click.echo(f"Edit {path}, then: uv run targcc job run {key}{given}{start}")


def _plan(project: Project, spec: Spec, key: str, text: str) -> Plan:
    from targcc_gen.cli.project import SPEC_FILE
    from targcc_gen.render import Owner, Tree, TreeFile, render_job
    from targcc_gen.sync import make_plan

    edit = TreeFile(SPEC_FILE, text.encode(), Owner.SCAFFOLD, replaces=project.text.encode())
    return make_plan(Tree.of([*render_job(spec, key), edit], complete=False), project.root)


def job_values(options: dict[str, Any]) -> dict[str, Any]:
    """Turn the options of the command into the values that a spec has below the job's key.

    Raises:
        click.UsageError: No option, or more than one, says when the job runs.
    """
    _check_when(options)
    kinds = {"manual": "manual", "fire_and_forget": "fire-and-forget", "delayed": "delayed"}
    kind = next((text for key, text in kinds.items() if options[key]), None)
    plain = (
        "cron", "every", "anchor", "after", "at", "timezone", "display_name", "description", "blueprint", "procedure",
        "queue", "priority", "retries", "backoff", "timeout", "overlap", "concurrency",
        "isolation", "memory_limit", "on_holiday", "unique_scope", "on_duplicate", "expires_in",
    )  # fmt: skip
    values: dict[str, Any] = {key: options[key] for key in plain if options[key] is not None}
    if kind:
        values["type"] = kind
    if options["stable_name"]:
        values["name"] = options["stable_name"]
    for key, option in (("calendar", "calendar"), ("unique", "unique"), ("after", "follows")):
        if options[option]:
            values[key] = list(options[option])
    if options["unique"] == ("true",):  # `unique: true` in the spec: all parameters
        values["unique"] = True
    if options["paused"]:
        values["paused"] = True
    values |= _misfire(options) | _limit(options)
    values |= _alerts(options) | _params(options["params"])
    return _with_blueprint_defaults(values)


def _check_when(options: dict[str, Any]) -> None:
    given = [option for key, option in _WHEN.items() if options[key]]
    if options["after"] and not options["every"]:
        given.append(f"--after-{options['after']}")
    if not given:
        raise click.UsageError(
            "when does it run? --cron, --every or --at; --after another job; or without a schedule --manual,"
            " --fire-and-forget or --delayed"
        )
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} contradict each other: choose one")


def _misfire(options: dict[str, Any]) -> dict[str, Any]:
    given = {"policy": options["misfire"], "grace": options["misfire_grace"]}
    misfire = {key: value for key, value in given.items() if value is not None}
    return {"misfire": misfire} if misfire else {}


def _limit(options: dict[str, Any]) -> dict[str, Any]:
    limit: dict[str, Any] = {}
    for text in options["limits"]:
        if not text.isdecimal() and "/" not in text:
            raise OptionError(f'--limit "{text}" is neither a number nor a rate', hint=_LIMITS)
        key, value = ("rate", text) if "/" in text else ("running", int(text))
        if key in limit:
            raise OptionError(f"--limit {limit[key]} and --limit {text}: choose one", hint=_LIMITS)
        limit[key] = value
    for key in ("key", "burst", "weight"):
        if (value := options[f"limit_{key}"]) is not None:
            if not options["limits"]:
                raise OptionError(f"--limit-{key} goes with --limit", hint=_LIMITS)
            limit[key] = value
    return {"limit": limit} if limit else {}


def _alerts(options: dict[str, Any]) -> dict[str, Any]:
    given = {
        "on": list(options["alert_on"]) or None,
        "email": list(options["email"]) or None,
        "slack": options["slack"],
        "teams": options["teams"],
        "webhook": options["webhook"],
        "max_per_hour": options["max_alerts_per_hour"],
    }
    alerts = {key: value for key, value in given.items() if value is not None}
    return {"alerts": alerts} if alerts else {}


def _params(texts: Sequence[str]) -> dict[str, Any]:
    params: dict[str, str] = {}
    for text in texts:
        name, colon, kind = text.partition(":")
        if not colon or not name.strip() or not kind.strip():
            raise OptionError(
                f'--param "{text}" is not NAME:TYPE',
                hint='write it like "user_id:int" or "since:date=2026-01-01"',
            )
        if name.strip() in params:
            raise OptionError(f"--param {name.strip()} is given twice")
        params[name.strip()] = kind.replace("=", " = ", 1).strip() if "=" in kind else kind.strip()
    return {"params": params} if params else {}


def _with_blueprint_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Add the blueprint's defaults for keys that are not given."""
    from targcc_gen.render.blueprints import blueprint
    from targcc_gen.spec.rules import RECIPIENTS

    if "blueprint" not in values:
        return values
    defaults = dict(blueprint(values["blueprint"]).defaults)
    alerts = {**defaults.pop("alerts", {}), **values.get("alerts", {})}
    # Without a recipient the blueprint's alerts are left out.
    if any(alerts.get(channel) for channel in RECIPIENTS) or "alerts" in values:
        values = {**values, "alerts": alerts}
    return {**defaults, **values}


# Remove a job from the spec, and move its edited files to a folder that is not imported.


def remove_job_of(project: Project, name: str, writing: Writing) -> None:
    """Remove a job from the spec and the code.

    Raises:
        InputError: There is no such job.
        ConflictError: A file is in the way.
    """
    from targcc_gen.cli.plans import carry_out
    from targcc_gen.cli.project import SPEC_FILE
    from targcc_gen.render import Owner, Tree, TreeFile, job_paths
    from targcc_gen.spec import job_values, remove_job
    from targcc_gen.sync import make_plan
    from targcc_gen.sync.jobs.pull import as_in_code
    from targcc_gen.sync.jobs.removed import with_record

    files: list[TreeFile] = []
    try:
        key = find_job(project, name)
    except InputError:
        key = _stray(project, name)
        values = job_values(as_in_code(project.spec, key, project.root))
    else:
        text = remove_job(project.text, key).encode()
        files.append(TreeFile(SPEC_FILE, text, Owner.SCAFFOLD, replaces=project.text.encode()))
        values = job_values(project.spec.jobs[key])
    paths = job_paths(project.spec, key)
    tree = Tree.of(files, complete=False, removed=paths)
    plan = with_record(make_plan(tree, project.root, retire=True), key, values, paths)
    written = carry_out(plan, writing)
    if written and not writing.as_json:
        click.echo(f"{key} runs no more. {_way_back(plan, key)}")


def _way_back(plan: Plan, key: str) -> str:
    if any(".targcc/removed" in change.path for change in plan.changes):
        return f"What you wrote comes back with: targcc-gen restore {key}"
    return f"Nobody had written in its files, so none is kept: targcc-gen job {key} makes them anew"


def _stray(project: Project, name: str) -> str:
    """Return the key of a job that is in the code and no longer in the spec."""
    from targcc_gen.names import JobName, same_job
    from targcc_gen.sync import Lock
    from targcc_gen.sync.disk import Disk
    from targcc_gen.sync.jobs.pull import strays

    wanted = JobName.parse(name).key
    for key in strays(Lock.load(project.root), Disk(project.root)):
        if same_job(key, wanted):
            return key
    return find_job(project, name)


# Rename a job: files and spec now, history at the next start of the project.


def rename_job_of(project: Project, name: str, new: str, writing: Writing) -> None:
    """Rename a job.

    Raises:
        InputError: There is no such job, or the new name is taken.
        ConflictError: A file is in the way, or `@job` differs from the spec.
    """
    from targcc_gen.cli.plans import carry_out
    from targcc_gen.cli.project import SPEC_FILE
    from targcc_gen.names import JobName
    from targcc_gen.render import Owner, Tree, TreeFile, job_moves, job_paths, render_job
    from targcc_gen.spec import parse_spec, rename_job
    from targcc_gen.sync import Side, make_plan

    old, key = find_job(project, name), JobName.parse(new).key
    jobs = {
        touched_key: job for touched_key, job in project.spec.jobs.items() if touched_key != old
    }
    refuse_taken(project.spec.model_copy(update={"jobs": jobs}), key)
    text = rename_job(_with_procedure(project, old), old, key)
    spec = parse_spec(text)
    edit = TreeFile(SPEC_FILE, text.encode(), Owner.SCAFFOLD, replaces=project.text.encode())
    moved = [move for move in job_moves(spec) if move.new == key]
    touched = [key, *spec.followers(key)]
    files = [file for touched_key in touched for file in render_job(spec, touched_key)]
    tree = Tree.of([*files, edit], complete=False, moved=moved)
    # Other differences between code and spec stay: the rename keeps the code's side.
    sides = dict.fromkeys(
        (path for touched_key in touched for path in job_paths(spec, touched_key)), Side.MINE
    )
    written = carry_out(make_plan(tree, project.root, sides=sides), writing)
    if written and not writing.as_json:
        click.echo(f"{key} goes on with the history, pause and schedule of {old} when it starts.")
        if _is_named(spec, key):
            click.echo("Flows or environments name it, so now: targcc-gen regenerate")


def _is_named(spec: Spec, key: str) -> bool:
    """Whether the key of a job without a fixed `name` occurs in flows or environments."""
    flows = (step.job for flow in spec.flows.values() for step in flow.steps.values())
    places = (job for place in spec.environments.values() for job in place.jobs)
    return spec.jobs[key].name is None and key in {*flows, *places}


def _with_procedure(project: Project, key: str) -> str:
    """Return the spec's text with the name of the job's procedure written out, so that a rename keeps the procedure."""
    from targcc_gen.spec import build_job, change_jobs, job_values

    job = project.spec.jobs[key]
    if job.blueprint != "stored-procedure" or job.procedure is not None:
        return project.text
    name = [key, *project.spec.earlier_names(key)][-1]
    pinned = build_job(key, {**job_values(job), "procedure": f"SP_{name}"})
    return change_jobs(project.text, {key: pinned})
