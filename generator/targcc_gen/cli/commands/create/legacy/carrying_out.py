"""An import from its rows to a written project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from targcc_gen.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from targcc_gen.cli.commands.create.legacy.request import Asked
    from targcc_gen.importing.arrival import Arrival
    from targcc_gen.sources.model import Import
    from targcc_gen.spec import Spec


def carry_out(asked: Asked, convert: Callable[[Spec | None], Import]) -> None:
    """Convert, report, and write what was asked for.

    Args:
        asked: What was asked for.
        convert: Brings every row to its end, for the project that the jobs join, if they do.
    """
    from targcc_gen.cli.output import arrivals
    from targcc_gen.evidence.model import Weighed
    from targcc_gen.evidence.weigh import weigh
    from targcc_gen.parity.compare import differences
    from targcc_gen.report.document import write_report
    from targcc_gen.report.verdicts import unsettled

    weighed = Weighed()

    def weighing(project: Spec | None) -> Import:
        nonlocal weighed
        result = convert(project)
        weighed = weigh(result, choose=not asked.hybrid)
        return result

    result, arrival = _planned(asked, weighing)
    found = unsettled(differences(result), weighed)
    for path in asked.report:
        write_report(path, result, found, weighed)
    if asked.as_json:
        arrivals.print_json(result, arrival)
    else:
        from targcc_gen.report.summary import lines

        report = ", ".join(map(str, asked.report))
        for line in lines(result, found, weighed, report=report or None, hybrid=asked.hybrid):
            click.echo(visible(line, lines=True))
        if arrival is not None:
            arrivals.show(arrival, diff=asked.diff)
    if arrival is not None:
        arrivals.refuse_conflicts(arrival)
        if asked.writes:
            _write(asked, result, arrival)
    arrivals.refuse_rejected(result, arrival, accepted=asked.accept_rejected)


def _planned(
    asked: Asked, convert: Callable[[Spec | None], Import]
) -> tuple[Import, Arrival | None]:
    """The end of every row, and what it takes to write the project."""
    from targcc_gen.importing.hybrid import check_mode, join_hybrid_project, new_hybrid_project

    if asked.into is not None:
        from targcc_gen.cli.project import open_project
        from targcc_gen.importing.joining import join_project

        project = open_project(asked.into, writes=not asked.dry_run)
        result = convert(project.spec)
        if asked.hybrid:
            return result, join_hybrid_project(result, project.root, project.text)
        request = asked.joining()
        return result, join_project(result, project.root, project.spec, project.text, request)
    result = convert(None)
    if asked.hybrid:
        check_mode(result)
    if asked.new is None:
        return result, None
    from targcc_gen.cli.output.progress import rendered

    if asked.hybrid:
        return result, new_hybrid_project(result, asked.new, rendered, asked.joining())
    from targcc_gen.importing.project import new_project

    return result, new_project(result, asked.new, rendered, asked.joining())


def _write(asked: Asked, result: Import, arrival: Arrival) -> None:
    from targcc_gen.importing.cutover import CUTOVER_FILE, named_already, write_cutover
    from targcc_gen.importing.history import HISTORY_FILE, write_project_history
    from targcc_gen.sync import apply

    assert asked.target is not None
    named = named_already(asked.target) if asked.paused else []
    apply(arrival.plan)
    counts = write_project_history(result, asked.target)
    moving = write_cutover(result, asked.target, named) if asked.paused else 0
    if asked.as_json:
        return
    if counts:
        where = asked.target / HISTORY_FILE
        click.echo(f"history   {where}: {sum(counts.values()):,} runs of {len(counts)} jobs")
    if moving:
        click.echo(
            f"cutover   {asked.target / CUTOVER_FILE}: {moving} jobs that the old server runs"
        )
    if arrival.plan.is_empty and not counts:
        return
    from targcc_gen.cli.output.arrivals import next_steps

    head = f"Created {asked.new}. Next:" if asked.new else "Next:"
    click.echo(f"\n{head}\n")
    steps = next_steps(
        arrival,
        asked.target,
        HISTORY_FILE if counts else None,
        hybrid=asked.hybrid,
        moving=bool(moving),
        halves=_halves(result, arrival) if asked.paused else (),
    )
    for line in steps:
        click.echo(f"  {line}")


def _halves(result: Import, arrival: Arrival) -> Iterator[str]:
    """New jobs that are the second half of a row's schedule: the old server has no row to hand over for them."""
    from targcc_gen.importing.changes import Kind

    added = {row.key for row in arrival.having(Kind.ADDED)}
    for job in result.second:
        if not job.spec.paused and (job.key in added or not arrival.rows):
            yield job.key
