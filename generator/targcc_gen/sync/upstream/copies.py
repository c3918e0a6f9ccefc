"""The plan that brings the project's copies of its team's repositories up to date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from targcc_gen.render.tree import Owner
from targcc_gen.spec.sharing.upstream import FETCHED_PATH, RECORD, Upstream, record
from targcc_gen.sync.folder.disk import Disk
from targcc_gen.sync.lock import Lock
from targcc_gen.sync.plan.plan import Action, Change, Plan
from targcc_gen.sync.upstream.repository import Fetched


def plan_copies(root: Path, fetched: Mapping[Upstream, Fetched]) -> Plan:
    """What it takes to have a copy of each repository, and of no other; the lock stays as it is.

    Args:
        root: The project's folder.
        fetched: What the repositories have.
    """
    disk, lock = Disk(root), Lock.load(root)
    wanted: dict[str, bytes] = {}
    for upstream, one in fetched.items():
        wanted[f"{upstream.place}/{RECORD}"] = record(upstream, one.commit).encode()
        wanted |= {f"{upstream.place}/{path}": text for path, text in one.files.items()}
    paths = sorted({*wanted, *_there(root)})
    changes = tuple(_change(path, wanted.get(path), disk) for path in paths)
    return Plan(root, changes, lock, lock.text, lock)


def _there(root: Path) -> Iterable[str]:
    folder = root / FETCHED_PATH
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [path.relative_to(root).as_posix() for path in folder.rglob("*") if path.is_file()]


def _change(path: str, content: bytes | None, disk: Disk) -> Change:
    there = disk.look(path)
    if there.blocked:
        return Change(
            path, Action.CONFLICT, there.blocked, Owner.MANAGED, there.raw, settleable=False
        )
    if content is None:
        reason = "no blueprint of a repository that targcc.yaml names"
        return Change(path, Action.DELETE, reason, Owner.MANAGED, there.raw)
    if there.text == content:
        return Change(path, Action.UNCHANGED, "", Owner.MANAGED, there.raw)
    action = Action.CREATE if there.raw is None else Action.UPDATE
    return Change(path, action, "", Owner.MANAGED, there.raw, content)
