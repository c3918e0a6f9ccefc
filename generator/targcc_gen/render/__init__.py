"""Render a spec into a tree of files in memory: copier renders the project's template, Jinja2 and black its jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from targcc_gen.render.tree import JobMove, Owner, Tree, TreeFile, embedded, layout_of

if TYPE_CHECKING:
    from targcc_gen.spec import Spec

__all__ = [
    "JobMove",
    "Owner",
    "Tree",
    "TreeFile",
    "job_moves",
    "job_paths",
    "render_job",
    "render_project",
]


def render_project(
    spec: Spec, *, spec_text: str | None = None, progress: Callable[[int, int], None] | None = None
) -> Tree:
    """Render all files of a project: the template, the schedule module, the jobs and the spec itself.

    Args:
        spec: The project's spec.
        spec_text: The spec as the user wrote it; default: serialize `spec`.
        progress: Called after each job with the number of finished jobs and of all jobs.

    Raises:
        InputError: A job does not fit its blueprint.
    """
    from targcc_gen.render.features import feature_files
    from targcc_gen.render.project import render_template, spec_files
    from targcc_gen.render.team import pins

    files = [*render_template(spec), *spec_files(spec, spec_text), *feature_files(spec)]
    for done, key in enumerate(spec.jobs, start=1):
        files += _job_files(spec, key)
        if progress is not None:
            progress(done, len(spec.jobs))
    return Tree.of(
        _placed(files, spec),
        layout=layout_of(spec),
        templates=pins(),
        moved=job_moves(spec),
    )


def render_job(spec: Spec, key: str) -> tuple[TreeFile, ...]:
    """Render a job's module and its test.

    Args:
        spec: A spec that has the job.
        key: The job's key.

    Raises:
        InputError: The job does not fit its blueprint.
    """
    return tuple(_placed(_job_files(spec, key), spec))


def job_paths(spec: Spec, key: str) -> tuple[str, ...]:
    """Return the paths of a job's module and its test, without rendering them."""
    from targcc_gen.render.jobs import module_path, test_path

    empty = [
        TreeFile(path, b"", Owner.SCAFFOLD) for path in (module_path(spec, key), test_path(key))
    ]
    return tuple(file.path for file in _placed(empty, spec))


def job_moves(spec: Spec) -> tuple[JobMove, ...]:
    """Return a move for each former name of each renamed job; newest former name first."""
    return tuple(
        JobMove(old, key, tuple(zip(job_paths(spec, old), job_paths(spec, key), strict=True)))
        for key in spec.jobs
        for old in spec.earlier_names(key)
    )


def _job_files(spec: Spec, key: str) -> tuple[TreeFile, ...]:
    from targcc_gen.render.jobs import job_files

    return job_files(spec, key)


def _placed(files: list[TreeFile] | tuple[TreeFile, ...], spec: Spec) -> list[TreeFile]:
    """Return the files at their places in a standalone project, or in the existing app."""
    if spec.project.inside is None:
        return list(files)

    return embedded(files, spec)
