"""The imported jobs in a project: a new one, or one that is there already."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targcc_gen.errors import InputError
from targcc_gen.render.tree import Owner, Tree, TreeFile
from targcc_gen.sources.model import Import, ImportedJob
from targcc_gen.spec import JobSpec, Spec, job_values
from targcc_gen.sync import Plan, make_plan

SPEC_FILE = "targcc.yaml"
_FEW = 10
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What joining a project comes to: a plan, and the jobs that were there before."""

    plan: Plan
    unchanged: tuple[ImportedJob, ...] = ()


def new_project(result: Import, root: Path, render: Callable[[Spec, str], Tree]) -> Arrival:
    """Plan a new project with all the jobs.

    Args:
        result: The end of every row.
        root: The project's folder.
        render: Makes the tree of a spec and its text.

    Raises:
        InputError: The folder is a project already or holds files, no row became a job, or the jobs make no spec.
    """
    from targcc_gen.spec import dump_spec

    spec = spec_of(result, root, {job.key: job.spec for job in result.all_jobs})
    return Arrival(make_plan(render(spec, dump_spec(spec)), root))


def spec_of(result: Import, root: Path, jobs: Mapping[str, JobSpec]) -> Spec:
    """The spec of a new project.

    Args:
        result: The end of every row.
        root: The project's folder, after which it is named.
        jobs: Its jobs.

    Raises:
        InputError: As for :func:`new_project`.
    """
    _refuse(root)
    if not result.all_jobs:
        reasons = [f"{one.file}:{one.line}: {one.reason}" for one in result.rejected[:_FEW]]
        raise InputError(
            "\n".join([f"no row of {result.tables.main_shown} can become a job:", *reasons]),
            hint="Nothing was written.",
        )
    name = _NOT_IN_A_NAME.sub("-", root.resolve().name).strip("-._") or "jobs"
    project = {"name": name, "timezone": result.options.zone.key}
    return _checked(targcc=1, project=project, jobs=jobs)


def _refuse(root: Path) -> None:
    if (root / SPEC_FILE).exists():
        hint = f"Add the jobs to it with --into {root}"
        raise InputError(f"{root} is a project already", hint=hint)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        hint = "Name a folder that does not exist yet."
        raise InputError(f"{root} is there already and not empty", hint=hint)


def _checked(**fields: Any) -> Spec:
    from pydantic import ValidationError

    try:
        return Spec.model_validate(fields)
    except ValidationError as error:
        reasons = "; ".join(str(detail["msg"]) for detail in error.errors())
        raise InputError(f"the imported jobs make no spec: {reasons}") from None


def join_project(result: Import, root: Path, spec: Spec, text: str) -> Arrival:
    """Plan the jobs into a project: those that are there with the same content stay as they are, others are rejected.

    Args:
        result: The end of every row; jobs that contradict the project's move to its rejected ones.
        root: The project's folder.
        spec: The project's spec.
        text: The spec's text.
    """
    from targcc_gen.render import render_job
    from targcc_gen.spec import add_jobs, parse_spec

    added, unchanged = [], []
    for job in result.all_jobs:
        theirs = spec.jobs.get(job.key)
        if theirs is None:
            added.append(job)
        elif job_values(theirs) == job_values(job.spec):
            unchanged.append(job)
        else:
            result.reject(job, _contradiction(job, theirs))
    files: list[TreeFile] = []
    if added:
        after = add_jobs(text, {job.key: job.spec for job in added}, SPEC_FILE)
        whole = parse_spec(after, SPEC_FILE)
        files = [file for job in added for file in render_job(whole, job.key)]
        files.append(TreeFile(SPEC_FILE, after.encode(), Owner.SCAFFOLD, replaces=text.encode()))
    return Arrival(make_plan(Tree.of(files, complete=False), root), tuple(unchanged))


def _contradiction(job: ImportedJob, theirs: JobSpec) -> str:
    ours, old = job_values(job.spec), job_values(theirs)
    key = next(key for key in {**ours, **old} if ours.get(key) != old.get(key))
    return (
        f"the project has {job.key} already, with another {key}"
        f" ({old.get(key, 'none')} there, {ours.get(key, 'none')} here): left as it is"
    )
