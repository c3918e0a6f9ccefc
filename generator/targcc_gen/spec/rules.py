"""What must hold between the keys of a spec: one schedule a job, queues that exist, names that differ.

The rules read plain mappings, so that they find what they can in a spec whose single values are wrong too, and so that
all errors are shown at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from targcc_gen.names import key_of
from targcc_gen.spec.blueprint_names import own_params, taken_names
from targcc_gen.spec.calendars.rules import calendar_findings
from targcc_gen.spec.findings import Finding, mapping
from targcc_gen.spec.flows.rules import flow_findings
from targcc_gen.spec.oncall.findings import RECIPIENTS, policy_findings
from targcc_gen.spec.params import Param
from targcc_gen.spec.pools.rules import pool_findings
from targcc_gen.spec.ties.rules import SLOTS, chain_findings, place_findings, tie_findings
from targcc_gen.spec.ties.values import INTERVALS, follows
from targcc_gen.spec.value_errors import RULE, nearest, problem

if TYPE_CHECKING:
    from targcc_gen.spec.models import Spec

MAX_RECIPIENTS = 500
"""The width of `c_JobAlert.EmailRecipients`, in characters."""

_SCHEDULES = (*SLOTS, "type")
_OF_SLOTS = ("timezone", "misfire", "must_finish_by", "calendar", "on_holiday")
_OF_INTERVALS = {
    "misfire": "with after there are no slots to miss",
    "on_holiday": "with after it waits until the calendar is open again",
}
"""What has no use for intervals that are counted from a run, and why."""


def require(findings: Iterable[Finding]) -> None:
    """Raise the first finding as a Pydantic error, for models that are built in Python.

    Raises:
        PydanticCustomError: There is a finding.
    """
    for finding in findings:
        raise problem(finding.message, hint=finding.hint, kind=RULE)


def job_findings(job: Mapping[str, Any], job_is: str) -> Iterator[Finding]:
    """What is wrong between the keys of one job.

    Args:
        job: The keys that are given, with values of any type.
        job_is: How a message names it, `job DailyReport`.
    """
    yield from _schedule(job, job_is)
    yield from _without_use(job, job_is)
    yield from tie_findings(job, job_is)
    yield from _alerts(job.get("alerts"), job_is)
    yield from _params(job)


def _schedule(job: Mapping[str, Any], job_is: str) -> Iterator[Finding]:
    given = [key for key in job if key in _SCHEDULES]
    if not given and not follows(job):
        hint = 'give it one of cron, every, at, after, or "type: manual"'
        yield Finding((), f"{job_is} has no schedule", hint, at="key")
    for extra in given[1:]:
        yield Finding(
            (extra,), f"{job_is} has both {given[0]} and {extra}", "keep one of them", at="key"
        )
    if "anchor" in job and job.get("after") in INTERVALS:
        hint = "with after, each interval begins with the run before"
        yield Finding(("anchor",), f"{job_is} has both anchor and after", hint, at="key")


def _without_use(job: Mapping[str, Any], job_is: str) -> Iterator[Finding]:
    """Keys that say something about another kind of job."""
    kind, without = job.get("type"), dict[str, str]()
    for key in ("anchor", "after"):
        if key in job and "every" not in job and not (follows(job) and key == "after"):
            yield Finding((key,), f"{key} has no use in {job_is}", "it goes with every", at="key")
    if kind is not None or follows(job):
        none = f"a {kind} job has no schedule" if kind else "a job after others has no schedule"
        without = dict.fromkeys(_OF_SLOTS, none)
    elif "after" in job:
        without = _OF_INTERVALS
    for key, hint in without.items():
        if key in job:
            yield Finding((key,), f"{key} has no use in {job_is}", hint, at="key")
    if "memory_limit" in job and job.get("isolation") == "thread":
        hint = "remove one of them: it is for a job in a process of its own"
        yield Finding(("memory_limit",), f"memory_limit has no use in {job_is}", hint, at="key")
    if "procedure" in job and job.get("blueprint") != "stored-procedure":
        hint = 'it goes with "blueprint: stored-procedure"'
        yield Finding(("procedure",), f"procedure has no use in {job_is}", hint, at="key")


def _alerts(alerts: Any, job_is: str) -> Iterator[Finding]:
    if isinstance(alerts, BaseModel):
        alerts = dict(alerts)
    if isinstance(alerts, Mapping) and not any(alerts.get(key) for key in RECIPIENTS):
        hint = "give email, slack, teams or webhook"
        yield Finding(("alerts",), f"nobody gets the alerts of {job_is}", hint, at="key")


def _params(job: Mapping[str, Any]) -> Iterator[Finding]:
    params = job.get("params")
    if isinstance(params, Mapping):
        yield from _taken(params, job.get("blueprint"))
    starter = "the schedule" if any(key in job for key in SLOTS) else ""
    starter = starter or ("a run of another job" if follows(job) else "")
    if not starter or not isinstance(params, Mapping):
        return
    for name, param in params.items():
        required = param.required if isinstance(param, Param) else "=" not in str(param)
        if required:
            message = f'parameter "{name}" has no value when {starter} starts the job'
            yield Finding(("params", name), message, f'give it a default value: "{param} = …"')


def _taken(params: Mapping[str, Any], blueprint: object) -> Iterator[Finding]:
    """Parameters that the blueprint's `execute` would write over, that would hide what it calls, or that it has as another type."""
    if not isinstance(blueprint, str):
        return
    taken, own = taken_names(blueprint), own_params(blueprint)
    for name, param in params.items():
        if name in taken:
            message = f'parameter "{name}" is a name the blueprint {blueprint} uses itself'
            yield Finding(("params", name), message, f'for example "{name}_value"', at="key")
        elif (kind := own.get(name)) and not _gives_default(param, kind):
            message = f'the blueprint {blueprint} has a parameter "{name}: {kind}" of its own'
            hint = f'give it another default with "{name}: {kind} = …", or choose another name'
            yield Finding(("params", name), message, hint, at="key")


def _gives_default(param: object, kind: str) -> bool:
    if isinstance(param, Param):
        return param.type == kind and not param.required
    name, equals, _ = str(param).partition("=")
    return name.strip() == kind and bool(equals)


def spec_findings(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong between jobs, queues and defaults of a whole spec, in the shape of the YAML."""
    jobs = mapping(spec.get("jobs"))
    yield from _queues(spec, jobs)
    yield from pool_findings(spec)
    yield from calendar_findings(spec)
    yield from _same_names(jobs)
    yield from _environments(spec, jobs)
    yield from _moved(mapping(spec.get("moved")), jobs)
    yield from policy_findings(spec)
    yield from flow_findings(spec)
    yield from chain_findings(spec)


def _queues(spec: Mapping[str, Any], jobs: Mapping[str, Any]) -> Iterator[Finding]:
    if "extends" in spec:  # which may have the queue: asked again when that is read too
        return
    known = list(dict.fromkeys([*mapping(spec.get("queues")), "default"]))
    users: dict[tuple[str, ...], Mapping[str, Any]] = {("defaults",): mapping(spec.get("defaults"))}
    users.update({("jobs", key): mapping(job) for key, job in jobs.items()})
    flows = mapping(spec.get("flows"))
    users.update({("flows", str(key)): mapping(flow) for key, flow in flows.items()})
    for name, place in mapping(spec.get("environments")).items():
        here = ("environments", str(name))
        users[(*here, "defaults")] = mapping(mapping(place).get("defaults"))
        for section in ("jobs", "flows"):
            for key, one in mapping(mapping(place).get(section)).items():
                users[(*here, section, str(key))] = mapping(one)
        for one in mapping(mapping(place).get("queues")):
            if one not in known:
                yield _no_queue((*here, "queues", str(one)), str(one), known)
    for path, holder in users.items():
        queue = holder.get("queue")
        if isinstance(queue, str) and queue not in known:
            yield _no_queue((*path, "queue"), queue, known)


def _no_queue(path: tuple[str, ...], queue: str, known: list[str]) -> Finding:
    hint = nearest(queue, known) or f"queues has {', '.join(known)}"
    return Finding(path, f'no queue "{queue}"', hint)


def _environments(spec: Mapping[str, Any], jobs: Mapping[str, Any]) -> Iterator[Finding]:
    """An environment says something about jobs and flows that there are."""
    places = mapping(spec.get("environments"))
    if not places:
        return
    for section, known in (("jobs", jobs), ("flows", mapping(spec.get("flows")))):
        keys = {key_of(key).casefold(): key for key in known}
        for name, place in places.items():
            for written, said in mapping(mapping(place).get(section)).items():
                path = ("environments", str(name), section, str(written))
                key = keys.get(key_of(written).casefold())
                if key is None:
                    thing = section.removesuffix("s")
                    hint = (
                        nearest(str(written), list(known))
                        or f"it says what is different of a {thing}"
                    )
                    yield Finding(path, f'no {thing} "{written}"', hint, at="key")
                elif section == "jobs":
                    job_is = f"job {key} in {name}"
                    yield from place_findings(path, mapping(said), mapping(known[key]), job_is)


def _same_names(jobs: Mapping[str, Any]) -> Iterator[Finding]:
    """Commands, file systems and SQL Server do not tell upper from lower case, so neither may two jobs."""
    seen: dict[str, str] = {}
    for written, job in jobs.items():
        key = key_of(written)
        name = mapping(job).get("name")
        names = {key, name} if isinstance(name, str) else {key}
        for one in sorted(names):
            first = seen.setdefault(one.casefold(), written)
            if first != written:
                path = ("jobs", written) if one == key else ("jobs", written, "name")
                yield Finding(
                    path, f'"{written}" and "{first}" are both {one}', "rename one of them"
                )
                break


def _moved(moved: Mapping[str, Any], jobs: Mapping[str, Any]) -> Iterator[Finding]:
    """A renamed job is there under its new name, or was renamed again, and not under the old one."""
    keys = {key_of(key): key for key in jobs} if moved else {}
    ways = {key_of(old): key_of(new) for old, new in moved.items()}
    for written, new in moved.items():
        old, target = key_of(written), key_of(new)
        if old in keys:
            hint = f"remove it, or the line below jobs: {target} is the same job"
            yield Finding(("moved", written), f"there is a job {old}", hint, at="key")
        elif target not in keys and target not in ways:
            hint = nearest(target, list(keys)) or f"remove this line if {target} is gone for good"
            yield Finding(("moved", written), f"no job {target}", hint)
        elif _goes_round(old, ways):
            yield Finding(
                ("moved", written), f"{old} was renamed to itself", "remove one of the lines"
            )


def _goes_round(name: str, ways: Mapping[str, str]) -> bool:
    passed = set()
    while name in ways and name not in passed:
        passed.add(name)
        name = ways[name]
    return name in passed


def as_written(spec: Spec) -> dict[str, Any]:
    """What `spec_findings` looks at, in the shape of the YAML; None is what a job does not say."""
    return {
        "queues": spec.queues,
        "pools": spec.pools,
        "calendars": spec.calendars,
        "defaults": vars(spec.defaults),
        "jobs": {
            key: {**vars(job), "alerts": job.alerts and vars(job.alerts)}
            for key, job in spec.jobs.items()
        },
        "alerts": spec.alerts.model_dump(),
        "oncall": spec.oncall.model_dump(),
        "environments": {
            name: one.model_dump(exclude_none=True) for name, one in spec.environments.items()
        },
        **({"extends": spec.extends} if spec.extends else {}),
        "moved": spec.moved,
        "flows": {name: one.model_dump() for name, one in spec.flows.items()},
    }
