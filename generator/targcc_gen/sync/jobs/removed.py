"""Edited files that the spec no longer asks for: kept, remembered, and moved to `.targcc/removed/`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from targcc_gen.errors import InputError
from targcc_gen.render.jobs import test_of_module
from targcc_gen.render.tree import REMOVED_PATH, Owner, path_problem
from targcc_gen.sync.disk import Disk
from targcc_gen.sync.jobs.decorator import LEFT_SPEC, DecoratedJob, jobs_in
from targcc_gen.sync.lock import digest, json_object
from targcc_gen.sync.merge import plain
from targcc_gen.sync.plan.plan import (
    Action,
    Change,
    Outcome,
    Plan,
    Situation,
    change_of,
    keep,
    stays,
)

if TYPE_CHECKING:
    from targcc_gen.sync.lock import Lock, LockEntry


# Files that stay; a job among them says so where it runs.

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
    from targcc_gen.sync.jobs.decorator_edit import edited

    return edited(text, job.name, {LEFT_SPEC: "True"}, text)


def without_mark(text: bytes) -> bytes:
    """The module without the mark."""
    from targcc_gen.sync.jobs.decorator_edit import edited

    try:
        marked = [job for job in jobs_in(text) if LEFT_SPEC in job.arguments]
    except (SyntaxError, ValueError):
        return text
    for job in marked:
        text = edited(text, job.name, {LEFT_SPEC: None}, text)
    return text


# Files of a removed job.

END = ".txt"
RECORD_END = ".json"


def put_away(outcomes: Mapping[str, Outcome], lock: Lock, disk: Disk) -> dict[str, Outcome]:
    """Keep what is deleted although a person wrote in it."""
    result: dict[str, Outcome] = {}
    for path, outcome in outcomes.items():
        change, entry = outcome.change, lock.entries.get(path)
        if change.action is not Action.DELETE or change.before is None or entry is None:
            continue
        if digest(plain(change.before)) == entry.sha256:
            continue
        kept = keep(path, disk, change.before, END, "yours; it runs no more", folder=REMOVED_PATH)
        reason = f"with your edits to {kept.path}"
        result[path] = replace(outcome, change=replace(change, reason=reason))
        result[kept.path] = Outcome(kept, None)
    return result


@dataclass(frozen=True)
class Removed:
    """A job that was removed and left files with edits.

    Attributes:
        key: Its key.
        values: What the spec said of it.
        record: The file that says so.
        files: Where each file was, and where it is put away.
    """

    key: str
    values: Mapping[str, Any]
    record: str
    files: Mapping[str, str]


def with_record(plan: Plan, key: str, values: Mapping[str, Any], paths: Collection[str]) -> Plan:
    """The plan that also writes down what the spec said of a removed job, if files of it are put away.

    Args:
        plan: The plan that removes it.
        key: The job.
        values: What the spec said of it.
        paths: Its files.
    """
    start = f"{REMOVED_PATH}/"
    files = {
        path: change.path
        for path in paths
        for change in plan.changes
        if change.path.startswith(f"{start}{path}.") and change.path.endswith(END)
    }
    if not files:
        return plan
    text = json.dumps({"job": key, "spec": values, "files": files}, indent=2) + "\n"
    record = keep(
        key, Disk(plan.root), text.encode(), RECORD_END, "what the spec said", folder=REMOVED_PATH
    )
    changes = sorted([*plan.changes, record], key=lambda change: change.path)
    return replace(plan, changes=tuple(changes))


def removed_jobs(root: Path) -> list[Removed]:
    """The removed jobs that can come back, the one that was removed last being the last of its name.

    Raises:
        InputError: A record is not what was written.
    """
    folder = root / REMOVED_PATH
    if folder.is_symlink() or not folder.is_dir():
        return []
    disk, records = Disk(root), []
    for path in sorted(folder.glob(f"*{RECORD_END}"), key=lambda path: (len(path.name), path.name)):
        place = f"{REMOVED_PATH}/{path.name}"
        try:
            records.append(_record(place, (disk.look(place).text or b"").decode()))
        except ValueError as error:
            raise InputError(f"{place} cannot be read: {error}") from error
    return records


def _record(place: str, text: str) -> Removed:
    data = json_object(text)
    key, values, files = data.get("job"), data.get("spec"), data.get("files")
    if not (isinstance(key, str) and isinstance(values, dict) and isinstance(files, dict)):
        raise ValueError("it is not what was written")  # noqa: TRY004 - one exception for all
    paths = {str(path): str(kept) for path, kept in files.items()}
    if any(path_problem(moved_path) for pair in paths.items() for moved_path in pair):
        raise ValueError("it names a file outside of the project")
    if not all(kept.startswith(f"{REMOVED_PATH}/") for kept in paths.values()):
        raise ValueError("it names a file that was not put away")
    return Removed(key, values, place, paths)


def bring_back(plan: Plan, removed: Removed) -> Plan:
    """The plan of a job that is added again, with the person's files in the place of new ones."""
    disk, changes = Disk(plan.root), []
    for change in plan.changes:
        place = removed.files.get(change.path)
        kept = None if place is None else disk.look(place)
        if kept is not None and kept.text is not None and change.action is Action.CREATE:
            text = without_mark(kept.text)
            after = kept.raw if text == kept.text else kept.style.restore(text)
            changes.append(replace(change, after=after, reason="as you had it"))
        else:
            changes.append(change)
    for place in (*removed.files.values(), removed.record):
        raw = disk.look(place).raw
        if raw is not None:
            changes.append(Change(place, Action.DELETE, "it is back", Owner.SCAFFOLD, raw))
    return replace(plan, changes=tuple(sorted(changes, key=lambda change: change.path)))


def removed_files(root: Path) -> list[str]:
    """The files that were put away, below the project's folder."""
    folder = root / REMOVED_PATH
    if folder.is_symlink() or not folder.is_dir():
        return []
    files = [path for path in folder.rglob(f"*{END}") if path.is_file() and not path.is_symlink()]
    return sorted(path.relative_to(root).as_posix() for path in files)
