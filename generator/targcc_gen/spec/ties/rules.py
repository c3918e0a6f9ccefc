"""What must hold of what ties runs together: jobs that exist and do not come after themselves, parameters that a job has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from targcc_gen.names import key_of
from targcc_gen.spec.blueprint_names import BLUEPRINTS, current, own_params
from targcc_gen.spec.findings import Finding, Steps, mapping
from targcc_gen.spec.ties.values import INTERVALS, TIMED, parents
from targcc_gen.spec.value_errors import nearest

OF_UNIQUE = ("unique_scope", "on_duplicate")
"""The keys that go with `unique`."""

SLOTS = ("cron", "every", "at")
"""The keys that give a job a schedule."""


def tie_findings(job: Mapping[str, Any], job_is: str) -> Iterator[Finding]:
    """What is wrong between the keys of one job; see `targcc_gen.spec.rules.job_findings`."""
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
    """What is wrong between the keys of `limit`."""
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
    """A job comes after others, or has a schedule."""
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
    """What is wrong between `unique`, the keys that go with it, and the schedule of a job."""
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
    job: Mapping[str, Any], job_is: str, name: object, path: Steps
) -> Iterator[Finding]:
    """A name that is no parameter of the job."""
    blueprint = job.get("blueprint", "blank")
    if not isinstance(name, str) or (current().lenient and blueprint not in BLUEPRINTS):
        return  # of a team's blueprint that nobody has read
    known = [*mapping(job.get("params")), *own_params(str(blueprint))]
    if name not in known:
        hint = nearest(name, known) or f'name it below params: "{name}: int"'
        yield Finding(path, f'{job_is} has no parameter "{name}"', hint)


def chain_findings(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong between jobs that come after each other, in the shape of the YAML of a whole spec."""
    jobs = mapping(spec.get("jobs"))
    said = {key: job for key, job in jobs.items() if mapping(job).get("after") is not None}
    named = {key: parents(job["after"]) for key, job in said.items() if job.get("every") is None}
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
    """The key that a job has after it was renamed."""
    passed = set()
    while key in moved and key not in passed:
        passed.add(key)
        key = moved[key]
    return key


def _no_job(spec: Mapping[str, Any], written: str, place: int, name: str) -> Finding:
    jobs, said = mapping(spec.get("jobs")), mapping(mapping(spec["jobs"])[written])["after"]
    path = ("jobs", written, "after")
    hint = nearest(key_of(name), list(map(key_of, jobs))) or f"jobs has {', '.join(jobs)}"
    if key_of(name) in map(key_of, mapping(spec.get("flows"))):
        hint = "that is a flow: a job comes after jobs"
    return Finding(path if isinstance(said, str) else (*path, place), f'no job "{name}"', hint)


def _circles(ways: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Each circle as a path that ends where it begins, a job before those that come after it."""
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
    """What is wrong between a job and what an environment says of it.

    Args:
        path: Where the environment says that.
        place: What it says.
        job: The job, with the keys that it gives.
        job_is: How a message names it.
    """
    if not any(key in place for key in OF_UNIQUE):
        return
    there = {key: value for key, value in {**job, **place}.items() if value is not None}
    for one in unique_findings(there, job_is):
        key = next(key for key in (one.path[0], *OF_UNIQUE) if key in place)
        yield replace(one, path=(*path, key))
