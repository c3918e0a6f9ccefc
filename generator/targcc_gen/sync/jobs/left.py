"""Edited files that the spec does not ask for any more: they stay, are remembered, and a job among them says so where it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from targcc_gen.render.job.jobs import test_of_module
from targcc_gen.render.tree import Owner
from targcc_gen.sync.decorators.model import LEFT_SPEC, DecoratedJob, jobs_in
from targcc_gen.sync.plan.outcome import Outcome, Situation, change_of, stays
from targcc_gen.sync.plan.plan import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

    from targcc_gen.sync.lock import LockEntry

_IN_THE_WAY = "you edited it, and nothing asks for it any more"


def left_edited(situation: Situation, entry: LockEntry, text: bytes) -> Outcome:
    """What becomes of a file with edits that has left the spec. The lock remembers it as long as it is there."""
    if not situation.whole_spec:
        return stays(situation, None, Action.KEEP, _IN_THE_WAY)
    job = stray_job(entry, text)
    if job is None:
        path = situation.path
        reason = f"{_IN_THE_WAY}: delete it, or make it yours alone: targcc-gen eject {path}"
        change = change_of(situation, Action.KEEP, reason)
        return Outcome(replace(change, left_spec=True), entry)
    key = key_of(job)
    reason = (
        f"{key} is in code, not in the spec, and runs. Adopt it: targcc-gen pull {key};"
        f" remove it: targcc-gen job {key} --remove"
    )
    change = change_of(situation, Action.KEEP, reason)
    if job.arguments.get(LEFT_SPEC) != "True" and not situation.disk.blocked:
        after = situation.disk.style.restore(marked_as_left(text, job))
        change = replace(change, action=Action.UPDATE, after=after)
    return Outcome(replace(change, stray=key, left_spec=True), entry)


def orphans(outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """The tests with edits whose jobs go or are gone: they could not import them any more, and go too."""
    tests = {
        test_of_module(PurePosixPath(path).stem)
        for path, outcome in outcomes.items()
        if outcome.entry is None and outcome.change.action in {Action.DELETE, Action.UNCHANGED}
    }
    return {
        path: Outcome(
            replace(
                outcome.change, action=Action.DELETE, reason="its job is gone", left_spec=False
            ),
            None,
        )
        for path, outcome in outcomes.items()
        if outcome.change.left_spec and path in tests
    }


def is_job_module(entry: LockEntry) -> bool:
    """Whether a file was made for a job."""
    if entry.owner is not Owner.SCAFFOLD or not entry.path.endswith(".py") or entry.base is None:
        return False
    try:
        return bool(jobs_in(entry.base))
    except (SyntaxError, ValueError):
        return False


def stray_job(entry: LockEntry, text: bytes) -> DecoratedJob | None:
    """The job of a module that was made for it; None for a module without it, and for any other file."""
    base = entry.base
    if not entry.path.endswith(".py") or base is None:
        return None
    try:
        was, now = jobs_in(base), jobs_in(text)
    except (SyntaxError, ValueError):
        return None
    if not was:
        return None
    same = [job for job in now if job.name == was[0].name]
    return next(iter(same or (now if len(now) == 1 else ())), None)


def key_of(job: DecoratedJob) -> str:
    """The key that a spec would give a job in the code."""
    return job.name.removesuffix("Job") or job.name


def marked_as_left(text: bytes, job: DecoratedJob) -> bytes:
    """The module with the mark by which the scheduler shows that the spec has no such job."""
    from targcc_gen.sync.decorators.edit import edited

    return edited(text, job.name, {LEFT_SPEC: "True"}, text)


def without_mark(text: bytes) -> bytes:
    """The module without the mark."""
    from targcc_gen.sync.decorators.edit import edited

    try:
        marked = [job for job in jobs_in(text) if LEFT_SPEC in job.arguments]
    except (SyntaxError, ValueError):
        return text
    for job in marked:
        text = edited(text, job.name, {LEFT_SPEC: None}, text)
    return text
