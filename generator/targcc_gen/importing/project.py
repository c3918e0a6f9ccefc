"""The imported jobs in a new project."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from targcc_gen.errors import InputError
from targcc_gen.importing.arrival import SPEC_FILE, Arrival, Request, base_row, queues_of, with_base
from targcc_gen.importing.base import Base, BaseRow
from targcc_gen.importing.matching import matched, source_of
from targcc_gen.render.tree import Tree
from targcc_gen.sources.model import Import
from targcc_gen.spec import JobSpec, Spec
from targcc_gen.sync import make_plan

_FEW = 10
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def new_project(
    result: Import,
    root: Path,
    render: Callable[[Spec, str], Tree],
    request: Request | None = None,
) -> Arrival:
    """Plan a new project with all the jobs.

    Args:
        result: The end of every row.
        root: The project's folder.
        render: Makes the tree of a spec and its text.
        request: What a person said about it.

    Raises:
        InputError: The folder is a project already or holds files, no row became a job, or the jobs make no spec.
    """
    from targcc_gen.spec import dump_spec

    request = request or Request()
    jobs = {job.key: request.arriving(job.spec) for job in result.all_jobs}
    spec = spec_of(result, root, jobs, request.scheduler)
    source = source_of(Base(), request.source, result.tables.main_shown)
    rows = matched(result, Base(), source, None)
    kept = [base_row(source, one.row, one.job) for one in rows if one.job]
    accepted = [
        BaseRow(source, one.row, one.rejection.name, rejected=one.rejection.reason)
        for one in rows
        if one.rejection and request.accept_rejected
    ]
    plan = make_plan(render(spec, dump_spec(spec)), root)
    base = Base().with_source(source, [*kept, *accepted])
    return Arrival(with_base(plan, base), accepted=len(accepted))


def spec_of(result: Import, root: Path, jobs: Mapping[str, JobSpec], scheduler: str | None) -> Spec:
    """The spec of a new project.

    Args:
        result: The end of every row.
        root: The project's folder, after which it is named.
        jobs: Its jobs.
        scheduler: How it has the scheduler; None: as any project that does not say.

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
    used = {job.queue for job in jobs.values()}
    way = {} if scheduler is None else {"scheduler": scheduler}
    return _checked(targcc=1, project=project, queues=queues_of(result, used), jobs=jobs, **way)


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
