"""Rules between the keys of a spec: one schedule per job, existing queues, distinct names.

The rules read plain mappings and ignore wrong values. A spec with wrong values therefore gets the findings of the rules in
the same report.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from targcc_scheduler.features.flows.graph import problems

from targcc_gen.names import key_of
from targcc_gen.spec.blueprint_names import BLUEPRINTS, current, own_params, taken_names
from targcc_gen.spec.errors import RULE, Finding, mapping, nearest, problem
from targcc_gen.spec.errors import Steps as ErrorsSteps
from targcc_gen.spec.params import Param
from targcc_gen.spec.values import INTERVALS, TIMED, follows, parents

if TYPE_CHECKING:
    from targcc_gen.spec.models import Spec


# Calendars.

_NAMING = (
    ("jobs", "calendar"),
    ("flows", "calendar"),
    ("queues", "calendar"),
    ("calendars", "include"),
)
"""Places that name calendars: a section, and a key of the section's entries."""


def calendar_findings(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the names of calendars in a whole spec; `spec` has the shape of the YAML."""
    if (
        "extends" in spec
    ):  # the extended file may have the calendar; the merged spec is checked later
        return
    known = list(mapping(spec.get("calendars")))
    for section, key in _NAMING:
        for name, holder in mapping(spec.get(section)).items():
            for path, reference in _named(_value(holder, key), (section, name, key)):
                if reference not in known:
                    hint = (
                        nearest(reference, known) or f"calendars has {', '.join(known) or 'none'}"
                    )
                    yield Finding(path, f'no calendar "{reference}"', hint)
    includes = {
        name: [reference for _, reference in _named(_value(calendar, "include"), ())]
        for name, calendar in mapping(spec.get("calendars")).items()
    }
    for name in includes:
        if _reaches(name, name, includes, set()):
            path = ("calendars", name, "include")
            yield Finding(path, f"calendar {name} includes itself", "take one of the steps out")


def _named(
    value: object, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list | tuple):
        yield from (
            ((*path, place), item) for place, item in enumerate(value) if isinstance(item, str)
        )


def _reaches(start: str, wanted: str, includes: Mapping[str, list[str]], passed: set[str]) -> bool:
    if start in passed:
        return False
    passed.add(start)
    below = includes.get(start, [])
    return wanted in below or any(_reaches(inner, wanted, includes, passed) for inner in below)


def _value(holder: object, key: str) -> object:
    return getattr(holder, key, None) if isinstance(holder, BaseModel) else mapping(holder).get(key)


# Flows: steps run existing jobs, no step waits for itself, expressions can be read.

_FLOW_SCHEDULES = ("cron", "every", "at")


def flow_findings(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the flows of a whole spec; `spec` has the shape of the YAML."""
    flows = mapping(spec.get("flows"))
    jobs = {key_of(key): key for key in mapping(spec.get("jobs"))} if flows else {}
    known = {*jobs, *(key_of(old) for old in mapping(spec.get("moved")))}
    for name, flow in flows.items():
        here = ("flows", str(name))
        if key_of(name) in jobs:
            hint = "rename one of them: a flow is started by a job of its name"
            yield Finding(here, f'there is a job "{name}" too', hint, at="key")
        schedules = [key for key in _FLOW_SCHEDULES if mapping(flow).get(key) is not None]
        for extra in schedules[1:]:
            message = f"flow {name} has both {schedules[0]} and {extra}"
            yield Finding((*here, extra), message, "keep one of them", at="key")
        yield from _arguments(here, mapping(flow))
        yield from _unique(here, mapping(flow))
        steps = mapping(mapping(flow).get("steps"))
        for step, step_value in steps.items():
            job = mapping(step_value).get("job")
            if isinstance(job, str) and key_of(job) not in known:
                hint = nearest(job, list(jobs)) or f"jobs has {', '.join(jobs) or 'none'}"
                yield Finding((*here, "steps", str(step), "job"), f'no job "{job}"', hint)
        if "steps" in mapping(flow):
            yield from _steps(here, steps)


def _arguments(here: tuple[str, ...], flow: Mapping[str, Any]) -> Iterator[Finding]:
    for name in mapping(flow.get("arguments")):
        if not str(name).isidentifier() or keyword.iskeyword(str(name)):
            hint = "letters, digits and _, no digit first, and no keyword of Python"
            message = f'"{name}" is no name of an argument'
            yield Finding((*here, "arguments", str(name)), message, hint, at="key")


def _unique(here: tuple[str, ...], flow: Mapping[str, Any]) -> Iterator[Finding]:
    unique, arguments = flow.get("unique"), mapping(flow.get("arguments"))
    names = [unique] if isinstance(unique, str) else unique
    for name in names if isinstance(names, list | tuple) else ():
        if isinstance(name, str) and name not in arguments:
            hint = nearest(name, list(arguments)) or "name one of its arguments"
            yield Finding((*here, "unique"), f'the flow has no argument "{name}"', hint)


def _steps(here: tuple[str, ...], steps: Mapping[str, Any]) -> Iterator[Finding]:
    for step_problem in problems(steps):
        yield Finding(
            (*here, "steps", *step_problem.path),
            step_problem.message,
            step_problem.hint or None,
            at="key" if step_problem.at_key else "value",
            column=step_problem.column,
            length=step_problem.length,
        )


# `alerts` and `oncall`: people and channels exist, and each alert has a recipient.

_Placed = tuple[ErrorsSteps, Mapping[str, Any]]

RECIPIENTS = ("email", "slack", "teams", "webhook", "other", "oncall")
"""The keys that name recipients."""


def policy_findings(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the recipients in `alerts` and `oncall`.

    Args:
        spec: The given keys, with values of any type.
    """
    alerts, oncall = mapping(spec.get("alerts")), mapping(spec.get("oncall"))
    yield from _unknown_people(oncall)
    for path, section in _recipient_sections(alerts):
        if not any(section.get(key) for key in RECIPIENTS):
            hint = "give email, slack, teams, webhook, other or oncall"
            yield Finding(path, "nobody gets this", hint, at="key")
    every: list[_Placed] = [(("alerts",), alerts), *_recipient_sections(alerts), *_of_jobs(spec)]
    if not _list(oncall.get("rota")):
        for path, section in every:
            if section.get("oncall") is True:
                hint = "say who, below oncall, rota"
                yield Finding((*path, "oncall"), "nobody is on call", hint, at="key")
    known = list(map(str, mapping(alerts.get("channels"))))
    for path, section in every:
        for name in mapping(section.get("other")):
            if name not in known:
                hint = nearest(str(name), known) or "name its class below alerts, channels"
                yield Finding((*path, "other", name), f'no channel "{name}"', hint, at="key")


def _unknown_people(oncall: Mapping[str, Any]) -> Iterator[Finding]:
    people = list(map(str, mapping(oncall.get("people"))))
    for number, shift in enumerate(_list(oncall.get("rota"))):
        who = mapping(shift).get("who")
        if isinstance(who, str) and who not in people:
            hint = nearest(who, people) or "name them below oncall, people"
            yield Finding(("oncall", "rota", number, "who"), f'no person "{who}"', hint)


def _recipient_sections(alerts: Mapping[str, Any]) -> Iterator[_Placed]:
    """Yield the digest and the steps of the escalation, each with its path."""
    if alerts.get("digest") is not None:
        yield ("alerts", "digest"), mapping(alerts["digest"])
    for number, step in enumerate(_list(alerts.get("escalation"))):
        yield ("alerts", "escalation", number), mapping(step)


def _of_jobs(spec: Mapping[str, Any]) -> Iterator[_Placed]:
    for key, job in mapping(spec.get("jobs")).items():
        yield ("jobs", key, "alerts"), mapping(mapping(job).get("alerts"))


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


# Pools, and the queues in each pool.

Steps = tuple[str, ...]


def pool_findings(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the pools of a whole spec; `spec` has the shape of the YAML."""
    if "extends" in spec:  # the extended file may have the pool; the merged spec is checked later
        return
    pools, queues = _mapping(spec.get("pools")), _mapping(spec.get("queues"))
    for name, queue in queues.items():
        yield from _of_queue(("queues", str(name)), _set_values(queue), pools)
    named = {_set_values(queue).get("pool") for queue in queues.values()}
    for name in pools:
        if name not in named:
            hint = f"give a queue pool: {name}, or take it out"
            yield Finding(("pools", str(name)), f'no queue is in pool "{name}"', hint, at="key")
    for place, environment in _mapping(spec.get("environments")).items():
        yield from _of_environment(
            ("environments", str(place)), _mapping(environment), pools, queues
        )


def _of_queue(here: Steps, queue: Mapping[str, Any], pools: Mapping[str, Any]) -> Iterator[Finding]:
    pool, name = queue.get("pool"), here[-1]
    if pool is None:
        if "weight" in queue:
            message, hint = (
                f"queue {name} has a weight and no pool",
                "name its pool, or remove weight",
            )
            yield Finding((*here, "weight"), message, hint, at="key")
        return
    if pool not in pools:
        yield _no_pool((*here, "pool"), str(pool), pools)
        return
    if "workers" in queue:
        message = f"queue {name} has both workers and a pool"
        hint = f"say how many there are in pools: {pool}, or remove pool"
        yield Finding((*here, "workers"), message, hint, at="key")
    if "weight" in queue and _set_values(pools[pool]).get("order") == "strict":
        message = f"queue {name} has a weight, and pool {pool} is strict"
        hint = "its queues go in the order of the file; remove weight, or order: strict"
        yield Finding((*here, "weight"), message, hint, at="key")


def _of_environment(
    here: Steps, environment: Mapping[str, Any], pools: Mapping[str, Any], queues: Mapping[str, Any]
) -> Iterator[Finding]:
    for name in _mapping(environment.get("pools")):
        if name not in pools:
            yield _no_pool((*here, "pools", str(name)), str(name), pools)
    for name, queue in _mapping(environment.get("queues")).items():
        pool = _set_values(queues.get(name)).get("pool")
        if pool is not None and "workers" in _set_values(queue):
            message = f"queue {name} has the workers of pool {pool}"
            hint = f"say how many there are in pools: {pool} of the environment"
            yield Finding((*here, "queues", str(name), "workers"), message, hint, at="key")


def _no_pool(path: Steps, pool: str, pools: Mapping[str, Any]) -> Finding:
    hint = nearest(pool, list(pools)) or f"pools has {', '.join(pools) or 'none'}"
    return Finding(path, f'no pool "{pool}"', hint)


def _set_values(holder: object) -> Mapping[str, Any]:
    """Return the keys given in a part of the spec, from a YAML mapping or a model."""
    if isinstance(holder, BaseModel):
        values = {name: getattr(holder, name) for name in holder.model_fields_set}
        return {name: value for name, value in values.items() if value is not None}
    return _mapping(holder)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# Dependencies, unique runs and limits: named jobs and parameters exist, no job follows itself.

OF_UNIQUE = ("unique_scope", "on_duplicate")
"""The keys that need `unique`."""

SLOTS = ("cron", "every", "at")
"""The keys that give a job a schedule."""


def dependency_findings(job: Mapping[str, Any], job_is: str) -> Iterator[Finding]:
    """Check `after`, `unique` and `limit` of a job; arguments as in `job_findings`."""
    yield from _after_and_schedule(job, job_is)
    yield from unique_findings(job, job_is)
    if isinstance(job.get("unique"), str | list | tuple):
        by = job["unique"]
        for place, name in enumerate([by] if isinstance(by, str) else by):
            path = ("unique",) if isinstance(by, str) else ("unique", place)
            yield from _unknown_param(job, job_is, name, path)
    if job.get("limit") is not None:
        yield from _limit(job, job_is)


def _limit(job: Mapping[str, Any], job_is: str) -> Iterator[Finding]:
    """Check the keys of `limit` against each other and against the job's parameters."""
    given = job["limit"]
    limit = vars(given) if isinstance(given, BaseModel) else mapping(given)
    running, weight = limit.get("running"), limit.get("weight")
    if isinstance(given, BaseModel | Mapping) and running is None and limit.get("rate") is None:
        yield Finding(
            ("limit",), f"limit of {job_is} limits nothing", "give running, rate or both", at="key"
        )
    if limit.get("burst") is not None and limit.get("rate") is None:
        yield Finding(
            ("limit", "burst"), f"burst has no use in {job_is}", "it goes with rate", at="key"
        )
    if isinstance(running, int) and isinstance(weight, int) and weight > running:
        message = f"a run of weight {weight} has no room under {running}"
        yield Finding(("limit", "weight"), message, f"{running} at most")
    yield from _unknown_param(job, job_is, limit.get("key"), ("limit", "key"))


def _after_and_schedule(job: Mapping[str, Any], job_is: str) -> Iterator[Finding]:
    """Report a job that has both a schedule and parents in `after`."""
    names = parents(job.get("after"))
    slots = [key for key in SLOTS if key in job]
    if not names or not slots:
        return
    if "every" in slots:
        hint = nearest(names[0], INTERVALS) or "with every, after is completion or start"
    else:
        hint = "keep one of them"
    yield Finding(("after",), f"{job_is} has both {slots[0]} and after", hint, at="key")


def unique_findings(job: Mapping[str, Any], job_is: str) -> Iterator[Finding]:
    """Check `unique` against `unique_scope`, `on_duplicate` and the job's schedule."""
    if "unique" not in job:
        for key in OF_UNIQUE:
            if key in job:
                yield Finding(
                    (key,), f"{key} has no use in {job_is}", "it goes with unique", at="key"
                )
        return
    word = str(job.get("on_duplicate")).partition(" ")[0]
    if word not in TIMED:
        return
    if any(key in job for key in SLOTS):
        message, hint = f"{word} has no use in {job_is}", "it is for jobs without a schedule"
        yield Finding(("on_duplicate",), message, hint)
    if "unique_scope" in job:
        message = f"unique_scope has no use in {job_is}"
        hint = f"with {word} a run has its key until it starts"
        yield Finding(("unique_scope",), message, hint, at="key")


def _unknown_param(
    job: Mapping[str, Any], job_is: str, name: object, path: ErrorsSteps
) -> Iterator[Finding]:
    """Report a name that is not a parameter of the job."""
    blueprint = job.get("blueprint", "blank")
    if not isinstance(name, str) or (current().lenient and blueprint not in BLUEPRINTS):
        return  # the blueprint's parameters are unknown: its folder has not been read
    known = [*mapping(job.get("params")), *own_params(str(blueprint))]
    if name not in known:
        hint = nearest(name, known) or f'name it below params: "{name}: int"'
        yield Finding(path, f'{job_is} has no parameter "{name}"', hint)


def chain_findings(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the jobs named in `after`: each exists, and no chain is a circle. `spec` has the shape of the YAML."""
    jobs = mapping(spec.get("jobs"))
    chained = {key: job for key, job in jobs.items() if mapping(job).get("after") is not None}
    named = {key: parents(job["after"]) for key, job in chained.items() if job.get("every") is None}
    if not named:
        return
    keys = {key_of(key) for key in jobs}
    moved = {key_of(old): key_of(new) for old, new in mapping(spec.get("moved")).items()}
    ways: dict[str, list[str]] = {}
    for written, names in named.items():
        ways[key_of(written)] = []
        for place, name in enumerate(names):
            now = _now(key_of(name), moved)
            if now in keys:
                ways[key_of(written)].append(now)
            else:
                yield _no_job(spec, written, place, name)
    written_as = {key_of(key): key for key in named}
    for path in _circles(ways):
        message = f"jobs come after each other in a circle: {' → '.join(path)}"
        yield Finding(("jobs", written_as[path[0]], "after"), message, "take one of the steps out")


def _now(key: str, moved: Mapping[str, str]) -> str:
    """Follow renames from an old key to the job's present key."""
    passed = set()
    while key in moved and key not in passed:
        passed.add(key)
        key = moved[key]
    return key


def _no_job(spec: Mapping[str, Any], written: str, place: int, name: str) -> Finding:
    jobs, after = mapping(spec.get("jobs")), mapping(mapping(spec["jobs"])[written])["after"]
    path = ("jobs", written, "after")
    hint = nearest(key_of(name), list(map(key_of, jobs))) or f"jobs has {', '.join(jobs)}"
    if key_of(name) in map(key_of, mapping(spec.get("flows"))):
        hint = "that is a flow: a job comes after jobs"
    return Finding(path if isinstance(after, str) else (*path, place), f'no job "{name}"', hint)


def _circles(ways: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Yield each circle as a path from a job back to the same job, parents before followers."""
    from graphlib import CycleError, TopologicalSorter

    left, order = dict(ways), list(ways)
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            around: list[str] = error.args[1][:-1]
            start = around.index(min(around, key=order.index))
            yield [*around[start:], *around[: start + 1]]
            left[around[start]] = []
        else:
            return


def place_findings(
    path: tuple[str, ...], place: Mapping[str, Any], job: Mapping[str, Any], job_is: str
) -> Iterator[Finding]:
    """Check a job's overrides in an environment against the job's keys.

    Args:
        path: The position of the overrides in the spec.
        place: The overrides.
        job: The given keys of the job.
        job_is: The job's name in messages.
    """
    if not any(key in place for key in OF_UNIQUE):
        return
    values = {key: value for key, value in {**job, **place}.items() if value is not None}
    for finding in unique_findings(values, job_is):
        key = next(key for key in (finding.path[0], *OF_UNIQUE) if key in place)
        yield replace(finding, path=(*path, key))


# Jobs and queues.

MAX_RECIPIENTS = 500
"""The width of `c_JobAlert.EmailRecipients`, in characters."""

_SCHEDULES = (*SLOTS, "type")
_OF_SLOTS = ("timezone", "misfire", "must_finish_by", "calendar", "on_holiday")
_OF_INTERVALS = {
    "misfire": "with after there are no slots to miss",
    "on_holiday": "with after it waits until the calendar is open again",
}
"""Keys that intervals counted from a run cannot use, each with the reason."""


def require(findings: Iterable[Finding]) -> None:
    """Raise the first finding as a Pydantic error, for models built in Python.

    Raises:
        PydanticCustomError: `findings` is not empty.
    """
    for finding in findings:
        raise problem(finding.message, hint=finding.hint, kind=RULE)


def job_findings(job: Mapping[str, Any], job_is: str) -> Iterator[Finding]:
    """Check the keys of a job against each other.

    Args:
        job: The given keys, with values of any type.
        job_is: The job's name in messages, `job DailyReport`.
    """
    yield from _schedule(job, job_is)
    yield from _without_use(job, job_is)
    yield from dependency_findings(job, job_is)
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
    """Report keys that have no effect in this kind of job."""
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
    """Report parameters with a name that the blueprint uses, or with another type than the blueprint's own parameter."""
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
    """Check the sections of a whole spec against each other; `spec` has the shape of the YAML."""
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
    if "extends" in spec:  # the extended file may have the queue; the merged spec is checked later
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
            for key, item in mapping(mapping(place).get(section)).items():
                users[(*here, section, str(key))] = mapping(item)
        for item in mapping(mapping(place).get("queues")):
            if item not in known:
                yield _no_queue((*here, "queues", str(item)), str(item), known)
    for path, holder in users.items():
        queue = holder.get("queue")
        if isinstance(queue, str) and queue not in known:
            yield _no_queue((*path, "queue"), queue, known)


def _no_queue(path: tuple[str, ...], queue: str, known: list[str]) -> Finding:
    hint = nearest(queue, known) or f"queues has {', '.join(known)}"
    return Finding(path, f'no queue "{queue}"', hint)


def _environments(spec: Mapping[str, Any], jobs: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the jobs and flows named in environments: each exists, and the overrides fit the job."""
    places = mapping(spec.get("environments"))
    if not places:
        return
    for section, known in (("jobs", jobs), ("flows", mapping(spec.get("flows")))):
        keys = {key_of(key).casefold(): key for key in known}
        for name, place in places.items():
            for written, values in mapping(mapping(place).get(section)).items():
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
                    yield from place_findings(path, mapping(values), mapping(known[key]), job_is)


def _same_names(jobs: Mapping[str, Any]) -> Iterator[Finding]:
    """Report jobs whose names differ only in case: commands, file systems and SQL Server ignore case."""
    seen: dict[str, str] = {}
    for written, job in jobs.items():
        key = key_of(written)
        name = mapping(job).get("name")
        names = {key, name} if isinstance(name, str) else {key}
        for same in sorted(names):
            first = seen.setdefault(same.casefold(), written)
            if first != written:
                path = ("jobs", written) if same == key else ("jobs", written, "name")
                yield Finding(
                    path, f'"{written}" and "{first}" are both {same}', "rename one of them"
                )
                break


def _moved(moved: Mapping[str, Any], jobs: Mapping[str, Any]) -> Iterator[Finding]:
    """Check `moved`: the old name is gone, the new name is a job or was renamed again, and no job was renamed to itself."""
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
    """Return a checked spec in the shape that `spec_findings` reads; None stands for a key that a job does not set."""
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
            name: item.model_dump(exclude_none=True) for name, item in spec.environments.items()
        },
        **({"extends": spec.extends} if spec.extends else {}),
        "moved": spec.moved,
        "flows": {name: item.model_dump() for name, item in spec.flows.items()},
    }
