"""A job's module and its test, from its blueprint."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from targcc_gen.names import JobName
from targcc_gen.render.job.blueprints import printed
from targcc_gen.render.job.context import JobContext, job_context
from targcc_gen.render.job.formatting import tidy
from targcc_gen.render.job.imports import with_head
from targcc_gen.render.job.signatures import broken_signature, own_parameters, with_defaults
from targcc_gen.render.literals import pyliteral
from targcc_gen.render.tree import JobFacts, Owner, TreeFile

if TYPE_CHECKING:
    from targcc_gen.spec import JobSpec, Spec


def job_files(spec: Spec, key: str) -> tuple[TreeFile, TreeFile]:
    """A job's module and its test."""
    module, test = _sources(spec, key)
    job, path = spec.jobs[key], module_path(spec, key)
    facts = JobFacts(
        key,
        spec.project.package,
        job.blueprint,
        defaults=_defaults(spec, key),
        keep=job.keep,
        as_blueprint=lambda name: _as_blueprint(spec, key, name),
    )
    return (
        TreeFile(path, module, Owner.SCAFFOLD, job=facts, summary=schedule_words(job)),
        TreeFile(test_path(key), test, Owner.SCAFFOLD, test_of=path),
    )


def _sources(spec: Spec, key: str) -> tuple[bytes, bytes]:
    job = spec.jobs[key]
    own = _own_parameters(spec, key) if job.params else {}
    shared = {name: param for name, param in job.params.items() if name in own}
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
    return tidy(broken_signature(module)).encode(), tidy(test).encode()


def _defaults(spec: Spec, key: str) -> dict[str, Any]:
    """What holds for a job that does not say it, by the argument of `@job`; below `after`, names that classes do not tell."""
    names = {one: spec.stable_name(one) for one in spec.parents(key)}
    named = {one: name for one, name in names.items() if one != name}
    found = {"timezone": spec.project.timezone, **vars(spec.defaults), "after": named or None}
    return {name: value for name, value in found.items() if value is not None}


def _as_blueprint(spec: Spec, key: str, name: str) -> bytes | None:
    """The job's module by another blueprint; None where its parameters do not fit that."""
    job = spec.jobs[key].model_copy(update={"blueprint": name})
    other = spec.model_copy(update={"jobs": {**spec.jobs, key: job}})
    try:
        return _sources(other, key)[0]
    except (SyntaxError, ValueError):
        return None


def module_path(spec: Spec, key: str) -> str:
    """Where a job's module is."""
    return f"src/{spec.project.package}/jobs/{JobName(key).module}.py"


def test_path(key: str) -> str:
    """Where a job's test is."""
    return test_of_module(JobName(key).module)


def test_of_module(module: str) -> str:
    """Where the test of a module below `jobs` is."""
    return f"tests/jobs/test_{module}.py"


def schedule_words(job: JobSpec) -> str:
    """When a job runs, in words: `at 02:00 every day`."""
    from targcc_gen.render.job.decorator import instant
    from targcc_gen.spec import format_duration

    if job.cron is not None:
        from targcc_gen.spec.times import cron_schedule

        return cron_schedule(job.cron).describe()
    if job.every is not None:
        anchor = f" from {instant(job.anchor)}" if job.anchor else ""
        after = {"completion": " after it finished", "start": " after it started"}
        counted = after.get(str(job.after), "")
        return f"every {format_duration(job.every)}{anchor}{counted}"
    if isinstance(job.after, tuple):
        return f"after each run of {' and '.join(job.after)} that succeeds"
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
    blueprint, _, part = template.partition("/")
    return printed(blueprint, part, values)


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
