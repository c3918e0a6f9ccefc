"""`targcc-gen job NAME --rename NEW`: files, spec and, at run time, history go to the new name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from targcc_gen.cli.commands.change.job_names import find_job, refuse_taken

if TYPE_CHECKING:
    from targcc_gen.cli.options import Writing
    from targcc_gen.cli.project import Project
    from targcc_gen.spec import Spec


def rename_job_of(project: Project, name: str, new: str, writing: Writing) -> None:
    """Give a job another name.

    Raises:
        InputError: There is none, or the new name is taken.
        ConflictError: A file is in the way, or @job says something else than the spec.
    """
    from targcc_gen.cli.output.show import carry_out
    from targcc_gen.cli.project import SPEC_FILE
    from targcc_gen.names import JobName
    from targcc_gen.render import Owner, Tree, TreeFile, job_moves, job_paths, render_job
    from targcc_gen.spec import parse_spec, rename_job
    from targcc_gen.sync import Side, make_plan

    old, key = find_job(project, name), JobName.parse(new).key
    jobs = {one: job for one, job in project.spec.jobs.items() if one != old}
    refuse_taken(project.spec.model_copy(update={"jobs": jobs}), key)
    text = rename_job(_with_procedure(project, old), old, key)
    spec = parse_spec(text)
    edit = TreeFile(SPEC_FILE, text.encode(), Owner.SCAFFOLD, replaces=project.text.encode())
    moved = [move for move in job_moves(spec) if move.new == key]
    touched = [key, *spec.followers(key)]
    files = [file for one in touched for file in render_job(spec, one)]
    tree = Tree.of([*files, edit], complete=False, moved=moved)
    # What the code says otherwise than the spec is another question than its name.
    mine = dict.fromkeys((path for one in touched for path in job_paths(spec, one)), Side.MINE)
    written = carry_out(make_plan(tree, project.root, sides=mine), writing)
    if written and not writing.as_json:
        click.echo(f"{key} goes on with the history, pause and schedule of {old} when it starts.")
        if _is_named(spec, key):
            click.echo("Flows or environments name it, so now: targcc-gen regenerate")


def _is_named(spec: Spec, key: str) -> bool:
    """Whether what the scheduler is told of the project names a job."""
    flows = (step.job for flow in spec.flows.values() for step in flow.steps.values())
    places = (job for place in spec.environments.values() for job in place.jobs)
    return spec.jobs[key].name is None and key in {*flows, *places}


def _with_procedure(project: Project, key: str) -> str:
    """The spec that names the procedure which the job calls, so that another name of the job changes nothing there."""
    from targcc_gen.spec import build_job, change_jobs, job_values

    job = project.spec.jobs[key]
    if job.blueprint != "stored-procedure" or job.procedure is not None:
        return project.text
    name = [key, *project.spec.earlier_names(key)][-1]
    pinned = build_job(key, {**job_values(job), "procedure": f"SP_{name}"})
    return change_jobs(project.text, {key: pinned})
