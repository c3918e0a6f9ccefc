"""`targcc-gen blueprints`: what a job can start out as, and whether a team's own are right."""

from __future__ import annotations

from pathlib import Path

import click

from targcc_gen.cli.options import project_option
from targcc_gen.errors import CheckFailed, InputError
from targcc_gen.visible import visible


@click.command(short_help="List what a job can start out as, or check your own.")
@click.argument("what", default="list", type=click.Choice(("list", "check")))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@project_option
def blueprints(what: str, *, as_json: bool, project: Path | None) -> None:
    """List the blueprints: what a job's file can start out as, each with a test that passes.

    In a project, those of its team are among them, with the folder that each comes from. `check` renders these for a few jobs,
    and says what is wrong with its file and line.

    \b
    Example:
      targcc-gen blueprints
      targcc-gen blueprints check
      targcc-gen job DailyReport --cron "0 2 * * *" --blueprint report
    """
    _open(project)
    if what == "check":
        _check()
        return
    from targcc_gen.render.job.blueprints import blueprint, blueprint_names

    found = [blueprint(name) for name in blueprint_names()]
    if as_json:
        import json

        data = [
            {
                "name": one.name,
                "summary": one.summary,
                "defaults": one.defaults,
                "origin": one.origin,
            }
            for one in found
        ]
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    width = max(len(one.name) for one in found)
    for one in found:
        origin = "" if one.origin == "targcc-gen" else f"  ({one.origin})"
        click.echo(visible(f"{one.name:<{width}}  {one.summary}{origin}"))


def _open(project: Path | None) -> None:
    """Know the team's blueprints, in a project; elsewhere there are the generator's alone."""
    from targcc_gen.cli.project import find_root, open_project

    try:
        find_root(project)
    except InputError:
        if project is not None:
            raise
        return
    open_project(project)


def _check() -> None:
    from targcc_gen.render.job.team_check import problems_of
    from targcc_gen.spec.blueprint_names import current

    library = current()
    if not library.blueprints:
        click.echo("No blueprints of your own: targcc.yaml names their folders under blueprints.")
        return
    wrong = 0
    for one in library.blueprints.values():
        problems = list(dict.fromkeys(problems_of(one)))
        wrong += len(problems)
        for problem in problems:
            click.echo(visible(problem, lines=True))
        if not problems:
            click.echo(f"{one.name}: it is right ({one.origin})")
    if wrong:
        raise CheckFailed(f"{wrong} problem{'' if wrong == 1 else 's'} in your blueprints")
