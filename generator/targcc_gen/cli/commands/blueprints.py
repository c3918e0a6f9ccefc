"""`targcc-gen blueprints`: list blueprints, check a team's own, and fetch blueprints of git repositories."""

from __future__ import annotations

from pathlib import Path

import click

from targcc_gen.cli.options import Writing, project_option, writing_options
from targcc_gen.errors import CheckFailed, InputError
from targcc_gen.visible import visible


@click.command(short_help="List, check or fetch blueprints: starting points of job files.")
@click.argument("what", default="list", type=click.Choice(("list", "check", "fetch")))
@writing_options
@project_option
def blueprints(
    what: str, *, dry_run: bool, diff: bool, as_json: bool, project: Path | None
) -> None:
    """List the blueprints: starting points of a job's file, each with a passing test.

    In a project, the list includes the team's blueprints with their folders. `check` renders the team's blueprints for a few jobs,
    and reports each error with file and line. `fetch` copies the blueprints of the git repositories in targcc.yaml into
    .targcc/blueprints, which is committed with the project. No other command contacts these repositories.

    \b
    Example:
      targcc-gen blueprints
      targcc-gen blueprints check
      targcc-gen blueprints fetch --diff
      targcc-gen job DailyReport --cron "0 2 * * *" --blueprint report
    """
    if what == "fetch":
        _fetch(project, Writing(dry_run=dry_run, diff=diff, as_json=as_json))
        return
    if dry_run or diff:
        raise click.UsageError("--dry-run and --diff go with fetch")
    _open(project)
    if what == "check":
        _check()
        return
    from targcc_gen.render.blueprints import blueprint, blueprint_names

    known = [blueprint(name) for name in blueprint_names()]
    if as_json:
        from targcc_gen.cli.json_output import print_json

        data = [
            {
                "name": item.name,
                "summary": item.summary,
                "defaults": item.defaults,
                "origin": item.origin,
            }
            for item in known
        ]
        print_json(data)
        return
    width = max(len(item.name) for item in known)
    for item in known:
        origin = "" if item.origin == "targcc-gen" else f"  ({item.source or item.origin})"
        click.echo(visible(f"{item.name:<{width}}  {item.summary}{origin}"))


def _open(project: Path | None) -> None:
    """Load the team's blueprints in a project; outside a project only the generator's blueprints are known."""
    from targcc_gen.cli.project import find_root, open_project

    try:
        find_root(project)
    except InputError:
        if project is not None:
            raise
        return
    open_project(project)


def _check() -> None:
    from targcc_gen.render.team import problems_of
    from targcc_gen.spec.blueprint_names import current

    library = current()
    if not library.blueprints:
        click.echo("No blueprints of your own: targcc.yaml names their folders under blueprints.")
        return
    wrong = 0
    for blueprint in library.blueprints.values():
        problems = list(dict.fromkeys(problems_of(blueprint)))
        wrong += len(problems)
        for problem in problems:
            click.echo(visible(problem, lines=True))
        if not problems:
            click.echo(f"{blueprint.name}: it is right ({blueprint.origin})")
    if wrong:
        raise CheckFailed(f"{wrong} problem{'' if wrong == 1 else 's'} in your blueprints")


def _fetch(project: Path | None, writing: Writing) -> None:
    from targcc_gen.cli.plans import carry_out
    from targcc_gen.cli.project import SPEC_FILE, find_root, ready_to_write, shown, spec_text
    from targcc_gen.spec.library import upstreams
    from targcc_gen.spec.shared import layers_of
    from targcc_gen.sync.blueprint_repositories import fetch, plan_copies

    root = find_root(project)
    if not writing.dry_run:
        ready_to_write(root)
    named = upstreams(layers_of(spec_text(root), root, shown(root / SPEC_FILE)))
    fetched = {}
    for source in named:
        click.echo(visible(f"asking {source.url} for {source.ref}"), err=True)
        fetched[source] = fetch(source)
    plan = plan_copies(root, fetched)
    commits = {source.text: fetched_files.commit for source, fetched_files in fetched.items()}
    written = carry_out(plan, writing, extra={"commits": commits})
    if writing.as_json:
        return
    for text, commit in commits.items():
        click.echo(visible(f"{text}: commit {commit}"))
    if written:
        click.echo("Commit .targcc/blueprints, and run: targcc-gen regenerate")
    elif plan.is_empty:
        what = (
            "every copy is what its repository has" if named else "targcc.yaml names no repository"
        )
        click.echo(f"Nothing to do: {what}.")
