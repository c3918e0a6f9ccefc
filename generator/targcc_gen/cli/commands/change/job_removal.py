"""`targcc-gen job NAME --remove`: the job leaves the spec, and its files go where nothing runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from targcc_gen.cli.commands.change.job_names import find_job
from targcc_gen.errors import InputError

if TYPE_CHECKING:
    from targcc_gen.cli.options import Writing
    from targcc_gen.cli.project import Project
    from targcc_gen.sync import Plan


def remove_job_of(project: Project, name: str, writing: Writing) -> None:
    """Take a job out of the spec and the code.

    Raises:
        InputError: There is none.
        ConflictError: A file is in the way.
    """
    from targcc_gen.cli.output.show import carry_out
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
    if any(".targcc/removed" in one.path for one in plan.changes):
        return f"What you wrote comes back with: targcc-gen restore {key}"
    return f"Nobody had written in its files, so none is kept: targcc-gen job {key} makes them anew"


def _stray(project: Project, name: str) -> str:
    """A job that is in the code and not in the spec any more."""
    from targcc_gen.names import JobName, same_job
    from targcc_gen.sync import Lock
    from targcc_gen.sync.folder.disk import Disk
    from targcc_gen.sync.jobs.pull import strays

    wanted = JobName.parse(name).key
    for key in strays(Lock.load(project.root), Disk(project.root)):
        if same_job(key, wanted):
            return key
    return find_job(project, name)
