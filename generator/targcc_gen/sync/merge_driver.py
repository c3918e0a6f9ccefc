"""The git merge driver: merge three versions of a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from targcc_gen.render.tree import LOCK_PATH
from targcc_gen.spec.merge import merge_specs
from targcc_gen.sync.lock import Lock, LockEntry
from targcc_gen.sync.merge import Side, Style, is_binary, merge, plain

SPEC_PATH = "targcc.yaml"
_NAMES = ("ours", "theirs")


@dataclass(frozen=True)
class Versions:
    """The base version of a file and the versions of both branches; empty where a version lacks the file."""

    base: bytes
    ours: bytes
    theirs: bytes


def merge_versions(path: str, versions: Versions) -> tuple[bytes, bool]:
    """Return the merged file, and whether no conflict is left for a user.

    Args:
        path: Path of the file, with `/`.
        versions: The three versions.
    """
    if any(is_binary(version) for version in (versions.base, versions.ours, versions.theirs)):
        return versions.ours, False
    style = Style.of(versions.ours)
    three = Versions(plain(versions.base), plain(versions.ours), plain(versions.theirs))
    try:
        text, is_clean = _by_kind(path, three)
    except Exception:  # noqa: BLE001 - else our side alone would stand there unmarked
        text, is_clean = _by_line(three)
    return style.restore(text), is_clean


def _by_kind(path: str, versions: Versions) -> tuple[bytes, bool]:
    name = PurePosixPath(path).name
    if name == SPEC_PATH:
        base = versions.base.decode() or None
        merged = merge_specs(base, versions.ours.decode(), versions.theirs.decode(), names=_NAMES)
        return merged.text.encode(), not merged.disputed
    if name == PurePosixPath(LOCK_PATH).name:
        locks = [
            Lock.parse(text.decode()) if text else Lock()
            for text in (versions.base, versions.ours, versions.theirs)
        ]
        return merge_locks(*locks).dump().encode(), True
    return _by_decorator(versions) if name.endswith(".py") else _by_line(versions)


def _by_decorator(versions: Versions) -> tuple[bytes, bool]:
    """Merge a job's module: `@job(…)` argument by argument, the rest line by line."""
    from targcc_gen.sync.jobs.decorator_merge import sync_decorator

    synced = sync_decorator(
        existing=versions.ours, base=versions.base, generated=versions.theirs, one_sided=True
    )
    back = sync_decorator(
        existing=versions.theirs, base=versions.base, generated=versions.ours, one_sided=True
    )
    if synced.problem or synced.collisions or back.problem or back.collisions:
        return _by_line(versions)
    # With the same decorator in all three versions, only users' edits are left to merge.
    base = sync_decorator(existing=versions.base, base=versions.base, generated=synced.text).text
    theirs = sync_decorator(existing=back.text, base=back.text, generated=synced.text).text
    return _by_line(Versions(base, synced.text, theirs))


def _by_line(versions: Versions) -> tuple[bytes, bool]:
    merged = merge(versions.base, versions.ours, versions.theirs, Side.MARKERS)
    text = merged.text.replace(b"<<<<<<< mine\n", b"<<<<<<< ours\n")
    return text.replace(b">>>>>>> generated\n", b">>>>>>> theirs\n"), not merged.collisions


def merge_locks(base: Lock, ours: Lock, theirs: Lock) -> Lock:
    """Merge the entries of both locks; where both changed an entry, keep both until the next `regenerate`."""
    entries: dict[str, LockEntry] = {}
    for path in sorted({*ours.entries, *theirs.entries}):
        was, own, other = (lock.entries.get(path) for lock in (base, ours, theirs))
        if other in (own, was) or (own is not None and path == SPEC_PATH):
            chosen = own
        elif own == was:
            chosen = other
        else:
            chosen = other or own
            if own is not None and other is not None:
                chosen = replace(other, others=(*own.others, own))
        if chosen is not None:
            entries[path] = chosen
    newest = Lock.newest(ours.generator, theirs.generator)
    templates = {**ours.templates, **theirs.templates}
    removed = {
        path: entry
        for path, entry in {**ours.removed, **theirs.removed}.items()
        if path not in entries
    }
    return Lock(entries, newest, templates, removed=removed)
