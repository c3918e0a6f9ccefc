"""`targcc-gen job`: a job more in the spec, with its module and its test, or one less."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.cli.commands.change.job_names import find_job, refuse_taken
from targcc_gen.cli.commands.change.job_options import complete_job, job_options
from targcc_gen.cli.options import Writing, project_option, writing_options
from targcc_gen.errors import InputError

if TYPE_CHECKING:
    from targcc_gen.cli.project import Project
    from targcc_gen.spec import Spec
    from targcc_gen.sync import Plan

_WHEN = {
    **{name: f"--{name}" for name in ("cron", "every", "at", "manual", "delayed")},
    "follows": "--after",
    "fire_and_forget": "--fire-and-forget",
}
"""The options that say when a job runs."""
_LIMITS = 'write "--limit 2" for so many at once, "--limit 100/min" for so many in a while, or both'


@click.command(short_help="Add a job, rename one, or remove one.")
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

    DailyReport, DailyReportJob, daily_report and "Daily Report" are one name. Exactly one option says when it runs.

    \b
    Example:
      targcc-gen job DailyReport --cron "0 2 * * *" --timezone Europe/London --blueprint report
      targcc-gen job SendWelcome --fire-and-forget --param user_id:int
      targcc-gen job CheckOrders --after ImportOrders
      targcc-gen job SyncTenant --manual --param tenant_id:int --limit 2 --limit-key tenant_id
      targcc-gen job DailyReport --rename MorningReport
      targcc-gen job DailyReport --remove

    --rename takes class, file, test, edits and the key in targcc.yaml along, and the history in the database. --remove puts
    files with your edits into .targcc/removed, where nothing runs them, and targcc-gen restore NAME brings that job back; of one
    without edits nothing is kept.
    """
    from targcc_gen.cli.project import open_project

    writing = Writing(dry_run=dry_run, diff=diff, as_json=as_json)
    alone = "--remove" if remove else "--rename" if rename is not None else ""
    given = [key for key, value in options.items() if value not in {None, False, ()}]
    if alone and (given or (remove and rename is not None)):
        other = (given or ["rename"])[0]
        command = click.get_current_context().command
        shown = next(one.opts[0] for one in command.params if one.name == other)
        raise click.UsageError(f"{alone} takes no {shown}")
    if rename is not None:
        from targcc_gen.cli.commands.change.job_rename import rename_job_of

        rename_job_of(open_project(project, writes=not dry_run), name, rename, writing)
    elif remove:
        from targcc_gen.cli.commands.change.job_removal import remove_job_of

        remove_job_of(open_project(project, writes=not dry_run), name, writing)
    else:
        _add(open_project(project, writes=not dry_run), name, options, writing)


def _add(project: Project, name: str, options: dict[str, Any], writing: Writing) -> None:
    from targcc_gen.cli.output.show import carry_out
    from targcc_gen.names import JobName
    from targcc_gen.spec import add_job, build_job, parse_spec

    key = JobName.parse(name).key
    refuse_taken(project.spec, key)
    follows = [find_job(project, one) for one in options["follows"]]
    new = build_job(key, job_values(options | {"follows": follows}))
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
    if options["unique"] == ("true",):  # as in the spec
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
            raise InputError(f'--limit "{text}" is neither a number nor a rate', hint=_LIMITS)
        key, value = ("rate", text) if "/" in text else ("running", int(text))
        if key in limit:
            raise InputError(f"--limit {limit[key]} and --limit {text}: choose one", hint=_LIMITS)
        limit[key] = value
    for key in ("key", "burst", "weight"):
        if (value := options[f"limit_{key}"]) is not None:
            if not options["limits"]:
                raise InputError(f"--limit-{key} goes with --limit", hint=_LIMITS)
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
    from targcc_gen.spec.oncall.findings import RECIPIENTS

    if "blueprint" not in values:
        return values
    defaults = dict(blueprint(values["blueprint"]).defaults)
    alerts = {**defaults.pop("alerts", {}), **values.get("alerts", {})}
    # Alerts that nobody gets are none.
    if any(alerts.get(channel) for channel in RECIPIENTS) or "alerts" in values:
        values = {**values, "alerts": alerts}
    return {**defaults, **values}
