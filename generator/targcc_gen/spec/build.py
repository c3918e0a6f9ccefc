"""A job made from the options of a command or from a legacy row, with errors that name no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from targcc_gen.errors import InputError
from targcc_gen.spec import rules
from targcc_gen.spec.findings import Finding, findings_of
from targcc_gen.spec.models import KEYS, JobSpec, Spec


def build_job(key: str, values: Mapping[str, Any]) -> JobSpec:
    """Make a job from what a spec would say below its key.

    Args:
        key: The job's key, for messages.
        values: Values by the spec's keys, as YAML has them: `{"cron": "0 2 * * *", "timeout": "10m"}`. None says nothing.

    Raises:
        InputError: Something is wrong; a wrong part of a value has carets below it.
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return JobSpec.model_validate(given)
    except ValidationError as error:
        raise _input_error(findings_of(error, KEYS, below=("jobs", key)), given) from error


def with_job(spec: Spec, key: str, job: JobSpec) -> Spec:
    """The spec with one more job at the end.

    Raises:
        InputError: It does not fit the others: its name is taken, or its queue does not exist.
    """
    jobs = {**spec.jobs, key: job}
    if key in spec.jobs:
        raise InputError(f"the spec has a job {key} already", hint="choose another name")
    views = {
        one: {"queue": each.queue, "name": each.name, "calendar": each.calendar}
        for one, each in jobs.items()
    }
    seen = {
        "queues": spec.queues,
        "pools": spec.pools,
        "calendars": spec.calendars,
        "defaults": dict(spec.defaults),
        "jobs": views,
        "moved": spec.moved,
        "flows": {name: one.model_dump() for name, one in spec.flows.items()},
    }
    findings = list(rules.spec_findings(seen))
    if findings:
        raise _input_error(findings, {})
    return spec.model_copy(update={"jobs": jobs})


def _input_error(findings: list[Finding], values: Mapping[str, Any]) -> InputError:
    first, *others = (_with_carets(one, values) for one in findings)
    if not others:
        return InputError(first, hint=findings[0].hint)
    lines = [
        f"{text}\n  {one.hint}" if one.hint else text
        for text, one in zip([first, *others], findings, strict=True)
    ]
    return InputError("\n".join(lines))


def _with_carets(finding: Finding, values: Mapping[str, Any]) -> str:
    _, _, *steps = finding.path
    value = values.get(str(steps[0])) if len(steps) == 1 else None
    if finding.column is None or not isinstance(value, str):
        return finding.message
    return f"{finding.message}\n  {value}\n  {' ' * finding.column}{'^' * max(1, finding.length)}"
