"""`targcc-gen new`: render a project from a spec, from a few answers, or from a name alone."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.cli.options import (
    DATABASES,
    FILE,
    FOLDER,
    WAYS,
    Writing,
    conflict_options,
    database_option,
    scheduler_option,
    sides_of,
    writing_options,
)
from targcc_gen.errors import FolderTakenError, InputError, OptionError
from targcc_gen.visible import visible

if TYPE_CHECKING:
    from targcc_gen.spec import Spec

_CHECKS = ("standard", "strict")
_HOSTS = ("github", "gitlab")
_CHOICES = ("database", "scheduler", "checks", "ci")


@click.command(short_help="Render a project from a spec or from a few answers.")
@click.argument("dest", metavar="DEST", type=FOLDER)
@click.option(
    "--spec",
    "spec_file",
    metavar="FILE",
    type=FILE,
    help="YAML spec of the project; becomes its targcc.yaml.",
)
@click.option(
    "--yes", "-y", is_flag=True, help="Ask nothing: render one Heartbeat job with SQLite."
)
@click.option("--name", help="Name of the project.  [default: the name of the folder]")
@click.option("--package", help="Import name of the project.  [default: the name with _ for -]")
@click.option("--timezone", metavar="ZONE", help="Time zone of the schedules.  [default: UTC]")
@database_option
@click.option(
    "--description", help="Description in one sentence, for the README and the dashboard."
)
@scheduler_option
@click.option(
    "--checks",
    type=click.Choice(_CHECKS),
    help="Rules of ruff, mypy and pytest in the project.  [default: standard]",
)
@click.option(
    "--ci", type=click.Choice(_HOSTS), help="Host of the repository, for CI.  [default: github]"
)
@conflict_options
@writing_options
def new(
    dest: Path,
    *,
    spec_file: Path | None,
    yes: bool,
    mine: tuple[str, ...],
    generated: tuple[str, ...],
    markers: bool,
    dry_run: bool,
    diff: bool,
    as_json: bool,
    **answers: str | None,
) -> None:
    """Render a complete project into the folder DEST.

    --spec renders the project of the spec. --yes renders a small project that runs at once. Without both options, a
    few questions are asked. Existing files in DEST are never overwritten without asking.

    \b
    Example:
      targcc-gen new acme-jobs --yes
      targcc-gen new acme-jobs --spec acme.yaml
      targcc-gen new acme-jobs --yes --scheduler vendored
      targcc-gen new acme-jobs --yes --ci gitlab --checks strict
      targcc-gen new acme-jobs --timezone Asia/Jerusalem --database postgresql
      targcc-gen new acme-jobs --yes --database mssql
    """
    from targcc_gen.cli.plans import carry_out
    from targcc_gen.cli.progress import rendered, write
    from targcc_gen.cli.project import ready_to_write
    from targcc_gen.sync import make_plan

    if not dry_run:
        ready_to_write(dest)
    _refuse_project(dest)
    spec, text = _spec(dest, spec_file, answers, yes=yes)
    started = time.perf_counter()  # after the questions: a person's answers take time
    sides = sides_of(dest.resolve(), mine, generated, markers=markers)
    writing = Writing(dry_run=dry_run, diff=diff, as_json=as_json, sides=sides)
    plan = make_plan(rendered(spec, text), dest, sides=sides)
    if as_json or plan.conflicts:
        carry_out(plan, writing)
        return
    from targcc_gen.cli.plans import show_new_project

    show_new_project(plan, spec)
    if diff:
        from targcc_gen.cli.plans import show_diff

        show_diff(plan)
    if not dry_run:
        write(plan)
        _show_next(dest, spec, time.perf_counter() - started)


def _refuse_project(dest: Path) -> None:
    from targcc_gen.cli.project import SPEC_FILE

    if dest.exists() and not dest.is_dir():
        raise FolderTakenError(f"{dest} is a file", hint="name a folder that does not exist yet")
    if (dest / SPEC_FILE).exists() and (dest / ".targcc").exists():
        raise FolderTakenError(
            f"{dest} is a project already",
            hint=f"bring it up to date with: targcc-gen regenerate --project {dest}",
        )


def _spec(
    dest: Path, file: Path | None, answers: dict[str, str | None], *, yes: bool
) -> tuple[Spec, str]:
    given = {key: value for key, value in answers.items() if value is not None}
    if file is not None:
        from targcc_gen.spec import load_spec
        from targcc_gen.spec.loader import read_text

        if given:
            raise click.UsageError(f"--spec says it all; leave out --{', --'.join(given)}")
        spec, text = load_spec(file), read_text(file)
        if spec.extends is not None:  # paths are relative to the project's future folder
            from targcc_gen.spec.shared import effective

            spec = effective(text, dest.resolve(), str(file))
        return spec, text
    if not (yes or given):
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise OptionError(
                "what should the project be?",
                hint="give it a spec with --spec FILE, or take a small one that runs at once with --yes",
            )
        given = _answers(dest)
    from targcc_gen.spec import dump_spec

    spec = first_spec(dest, given)
    return spec, dump_spec(spec)


def first_spec(dest: Path, answers: dict[str, str]) -> Spec:
    """Build the spec of a small project that runs at once.

    Args:
        dest: The project's folder; gives the default name.
        answers: Values of `name`, `package`, `timezone`, `description`, and of the spec's keys in `_CHOICES`, as far as given.

    Raises:
        InputError: An answer is wrong.
    """
    from pydantic import ValidationError

    from targcc_gen.spec import FIRST_JOB, Spec

    project = {"name": _name_of(dest), **answers}
    choices = {key: project.pop(key) for key in _CHOICES if key in project}
    try:
        return Spec.model_validate(
            {
                "targcc": 1,
                "project": project,
                **choices,
                "jobs": {"Heartbeat": FIRST_JOB},
            }
        )
    except ValidationError as error:
        raise _wrong_answer(error) from None


def _wrong_answer(error: Any) -> InputError:
    first = error.errors()[0]
    option = first["loc"][-1]
    return OptionError(f"--{option}: {first['msg']}", hint=first.get("ctx", {}).get("hint"))


def _name_of(dest: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", dest.resolve().name).strip("-._")
    return name or "jobs"


def _answers(dest: Path) -> dict[str, str]:
    """Ask five questions; Enter accepts the default of each."""
    click.echo("A few questions; Enter takes what is in brackets.\n")
    name = _valid_answer("Name of the project", _name_of(dest), "name", {})
    answers = {"name": name}
    answers["package"] = _valid_answer(
        "Import name", name.replace("-", "_").lower(), "package", answers
    )
    answers["timezone"] = _valid_answer(
        "Time zone of the schedules", local_zone(), "timezone", answers
    )
    click.echo("mssql is SQL Server: one active node with standbys. On postgresql all nodes work.")
    kinds = click.Choice(DATABASES)
    answers["database"] = click.prompt("Database", default="sqlite", type=kinds)
    click.echo(
        "The scheduler is a dependency (package), or its source is in the project to edit (vendored)."
    )
    ways = click.Choice(WAYS)
    answers["scheduler"] = click.prompt("Scheduler", default="package", type=ways)
    click.echo()
    return answers


def _valid_answer(question: str, default: str, key: str, before: dict[str, str]) -> str:
    """Ask until the answer is valid."""
    while True:
        answer: str = click.prompt(question, default=default)
        try:
            first_spec(Path("x"), {**before, key: answer.strip()})
        except InputError as error:
            click.echo(f"  {error.message.partition(': ')[2]}. {error.hint or ''}", err=True)
        else:
            return answer.strip()


def local_zone() -> str:
    """Return the name of this machine's time zone, from `TZ` or `/etc/localtime`; else UTC."""
    candidates = [os.environ.get("TZ", "").removeprefix(":")]
    link = Path("/etc/localtime")
    if link.is_symlink():
        candidates.append(link.readlink().as_posix().rpartition("zoneinfo/")[2])
    from targcc_scheduler.schedules.errors import CronError
    from targcc_scheduler.schedules.zones import parse_zone

    for name in candidates:
        try:
            parse_zone(name)
        except CronError:
            continue
        return name
    return "UTC"


def _show_next(dest: Path, spec: Spec, seconds: float) -> None:
    shown = visible(str(dest))
    click.echo(f"Created {shown} in {seconds:.1f} s. Next:\n")
    click.echo(f"  cd {shown}" if " " not in shown else f'  cd "{shown}"')
    click.echo("  uv run targcc dev          # reloads on save, opens http://127.0.0.1:8000/jobs")
    if "DailyReport" not in spec.jobs:
        click.echo('  targcc-gen job DailyReport --cron "0 2 * * *"')
    if spec.scheduler == "package":
        click.echo(
            "\nThe scheduler's source inside the project instead: targcc-gen scheduler vendored"
        )
