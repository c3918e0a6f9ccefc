"""A job's module and its test, from its blueprint."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from targcc_gen.errors import InputError
from targcc_gen.names import JobName
from targcc_gen.render.job.blueprints import environment
from targcc_gen.render.job.context import JobContext, job_context
from targcc_gen.render.job.formatting import formatted
from targcc_gen.render.job.imports import with_head
from targcc_gen.render.job.signatures import own_parameters, with_defaults
from targcc_gen.render.literals import pyliteral
from targcc_gen.render.tree import Owner, TreeFile

if TYPE_CHECKING:
    from targcc_gen.spec import JobSpec, Param, Spec


def job_files(spec: Spec, key: str) -> tuple[TreeFile, TreeFile]:
    """A job's module and its test.

    Raises:
        InputError: One of the job's parameters contradicts one that the blueprint has itself.
    """
    job = spec.jobs[key]
    own = _own_parameters(spec, key) if job.params else {}
    shared = {name: param for name, param in job.params.items() if name in own}
    for name, param in shared.items():
        _check_shared(key, job, name, param, own[name])
    context = job_context(spec, key, without=frozenset(shared))
    package = spec.project.package
    module = with_head(
        _printed(spec, context, f"{job.blueprint}/job.py.jinja"),
        package,
        context.imports,
        context.constants,
    )
    test = with_head(
        _printed(spec, context, f"{job.blueprint}/test.py.jinja"), package, context.test_imports
    )
    if shared:
        module = with_defaults(
            module, {name: pyliteral(param.default) for name, param in shared.items()}
        )
    summary = schedule_words(job)
    return (
        TreeFile(
            module_path(spec, key),
            formatted(module).encode(),
            Owner.SCAFFOLD,
            job=True,
            summary=summary,
        ),
        TreeFile(test_path(key), formatted(test).encode(), Owner.SCAFFOLD),
    )


def module_path(spec: Spec, key: str) -> str:
    """Where a job's module is."""
    return f"src/{spec.project.package}/jobs/{JobName(key).module}.py"


def test_path(key: str) -> str:
    """Where a job's test is."""
    return f"tests/jobs/test_{JobName(key).module}.py"


def schedule_words(job: JobSpec) -> str:
    """When a job runs, in words: `at 02:00 every day`."""
    from targcc_gen.render.job.decorator import instant
    from targcc_gen.spec import format_duration

    if job.cron is not None:
        from targcc_scheduler.schedules import CronSchedule

        return CronSchedule.parse(job.cron).describe()
    if job.every is not None:
        after = " after it finished" if job.after else ""
        return f"every {format_duration(job.every)}{after}"
    if job.at is not None:
        return f"once, at {instant(job.at)}"
    return {"manual": "when somebody starts it", "delayed": "when code schedules it"}.get(
        job.type or "", "when code enqueues it"
    )


def _printed(spec: Spec, context: JobContext, template: str) -> str:
    values: dict[str, Any] = {
        "job": context,
        "package": spec.project.package,
        "project": spec.project,
    }
    return environment().get_template(template).render(values)


def _own_parameters(spec: Spec, key: str) -> dict[str, str]:
    """The parameters that the blueprint's `execute` has of itself, with their types."""
    job = spec.jobs[key]
    context = job_context(spec, key, without=frozenset(job.params))
    source = _printed(spec, context, f"{job.blueprint}/job.py.jinja")
    return {
        argument.arg: ast.unparse(argument.annotation)
        for argument, _ in own_parameters(source)
        if argument.annotation
    }


def _check_shared(key: str, job: JobSpec, name: str, param: Param, annotation: str) -> None:
    """A parameter that the blueprint has too gives it another default, and nothing else."""
    if param.type == annotation and not param.required:
        return
    raise InputError(
        f'job {key}: the blueprint {job.blueprint} has a parameter "{name}: {annotation}" of its own',
        hint=f'give it another default with "{name}: {annotation} = …", or choose another name',
    )
