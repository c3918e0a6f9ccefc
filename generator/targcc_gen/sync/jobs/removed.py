"""Edited files that have left the spec: kept, recorded, and moved to `.targcc/removed/`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from targcc_gen.errors import DamagedError
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


# Files that stay; a job among the files is marked with `left_spec`.

_IN_THE_WAY = "you edited it, and nothing asks for it any more"


def left_edited(situation: Situation, entry: LockEntry, text: bytes) -> Outcome:
    """Return the outcome of an edited file that has left the spec. The lock keeps its entry as long as the file exists."""
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
    """Delete the edited tests whose jobs are deleted: such a test cannot import its job any more."""
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
    """Return whether the generator made a file as a job's module."""
    if entry.owner is not Owner.SCAFFOLD or not entry.path.endswith(".py") or entry.base is None:
        return False
    try:
        return bool(jobs_in(entry.base))
    except (SyntaxError, ValueError):
        return False


def stray_job(entry: LockEntry, text: bytes) -> DecoratedJob | None:
    """Return the job in a job's module; None for a module without its job, and for any other file."""
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
    """Return the key of a job in the code, as a spec would name the job."""
    return job.name.removesuffix("Job") or job.name


def marked_as_left(text: bytes, job: DecoratedJob) -> bytes:
    """Add `left_spec=True` to the job; the scheduler then shows that the job is not in the spec."""
    from targcc_gen.sync.jobs.decorator_edit import edited

    return edited(text, job.name, {LEFT_SPEC: "True"}, text)


def without_mark(text: bytes) -> bytes:
    """Remove `left_spec` from every job of the module."""
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
    """Keep a copy of each deleted file that a user edited."""
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
    """A removed job that left edited files.

    Attributes:
        key: Key of the job.
        values: The job's values in the spec.
        record: Path of the record with these values.
        files: Path of the kept copy, by original path.
    """

    key: str
    values: Mapping[str, Any]
    record: str
    files: Mapping[str, str]


def with_record(plan: Plan, key: str, values: Mapping[str, Any], paths: Collection[str]) -> Plan:
    """Add a record of a removed job's spec to the plan, if any of the job's files are kept.

    Args:
        plan: The plan that removes the job.
        key: Key of the job.
        values: The job's values in the spec.
        paths: Paths of the job's files.
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
    """Return the removed jobs that can be restored, sorted so that the last removal of each key comes last.

    Raises:
        InputError: A record is damaged.
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
            raise DamagedError(f"{place} cannot be read: {error}") from error
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
    """Restore the user's files in the plan of a job that is added again."""
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
    """Return the stored copies of removed jobs' files: sorted POSIX paths below the project's folder."""
    folder = root / REMOVED_PATH
    if folder.is_symlink() or not folder.is_dir():
        return []
    files = [path for path in folder.rglob(f"*{END}") if path.is_file() and not path.is_symlink()]
    return sorted(path.relative_to(root).as_posix() for path in files)
