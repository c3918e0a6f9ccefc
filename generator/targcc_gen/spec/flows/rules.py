"""What must hold of flows: jobs that exist, steps that do not wait for themselves, expressions that can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from targcc_scheduler.features.flows.graph import problems

from targcc_gen.names import key_of
from targcc_gen.spec.findings import Finding, mapping
from targcc_gen.spec.value_errors import nearest

_SCHEDULES = ("cron", "every", "at")


def flow_findings(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with the flows of a whole spec, in the shape of the YAML."""
    flows = mapping(spec.get("flows"))
    jobs = {key_of(key): key for key in mapping(spec.get("jobs"))} if flows else {}
    known = {*jobs, *(key_of(old) for old in mapping(spec.get("moved")))}
    for name, flow in flows.items():
        here = ("flows", str(name))
        if key_of(name) in jobs:
            hint = "rename one of them: a flow is started by a job of its name"
            yield Finding(here, f'there is a job "{name}" too', hint, at="key")
        said = [key for key in _SCHEDULES if mapping(flow).get(key) is not None]
        for extra in said[1:]:
            message = f"flow {name} has both {said[0]} and {extra}"
            yield Finding((*here, extra), message, "keep one of them", at="key")
        yield from _unique(here, mapping(flow))
        steps = mapping(mapping(flow).get("steps"))
        for step, one in steps.items():
            job = mapping(one).get("job")
            if isinstance(job, str) and key_of(job) not in known:
                hint = nearest(job, list(jobs)) or f"jobs has {', '.join(jobs) or 'none'}"
                yield Finding((*here, "steps", str(step), "job"), f'no job "{job}"', hint)
        if "steps" in mapping(flow):
            yield from _steps(here, steps)


def _unique(here: tuple[str, ...], flow: Mapping[str, Any]) -> Iterator[Finding]:
    said, arguments = flow.get("unique"), mapping(flow.get("arguments"))
    names = [said] if isinstance(said, str) else said
    for name in names if isinstance(names, list | tuple) else ():
        if isinstance(name, str) and name not in arguments:
            hint = nearest(name, list(arguments)) or "name one of its arguments"
            yield Finding((*here, "unique"), f'the flow has no argument "{name}"', hint)


def _steps(here: tuple[str, ...], steps: Mapping[str, Any]) -> Iterator[Finding]:
    for one in problems(steps):
        yield Finding(
            (*here, "steps", *one.path),
            one.message,
            one.hint or None,
            at="key" if one.at_key else "value",
            column=one.column,
            length=one.length,
        )
