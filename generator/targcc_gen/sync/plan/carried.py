"""The lists of requirements of an app that was there before: they name the wheel that the project carries, by file and version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from targcc_gen.render.package import DISTRIBUTION
from targcc_gen.render.tree import Owner, Tree
from targcc_gen.render.wheel import version_of
from targcc_gen.sync.folder.disk import Disk
from targcc_gen.sync.lock import Lock, digest
from targcc_gen.sync.plan.outcome import Outcome
from targcc_gen.sync.plan.plan import Action

_PINNED = r"(?i)(\b{name}(?:\[[^\]]*\])?\s*==\s*){version}(?![\w.+])"


def renewed(
    tree: Tree, lock: Lock, disk: Disk, outcomes: Mapping[str, Outcome]
) -> dict[str, Outcome]:
    """Name the new wheel where the old one is named in a file that `patch` has edited.

    Args:
        tree: What the spec asks for, with the new wheel.
        lock: What was written last, with the old one.
        disk: The project's files.
        outcomes: What becomes of each file.
    """
    new = next((path for path in tree.files if version_of(path)), None)
    old = [path for path in lock.entries if version_of(path) and path != new]
    if new is None or not old:
        return {}
    found: dict[str, Outcome] = {}
    for path, outcome in outcomes.items():
        entry, there = outcome.entry, disk.look(path)
        if entry is None or entry.owner is not Owner.PATCHED or path.endswith(".py"):
            continue
        if there.text is None or there.blocked or outcome.change.after is not None:
            continue
        after = there.text
        for wheel in old:
            after = _named(after.decode(errors="surrogateescape"), wheel, new)
        if after == there.text:
            continue
        same = digest(there.text) == entry.sha256
        change = replace(
            outcome.change,
            action=Action.UPDATE,
            reason=f"the scheduler is {new} now",
            after=there.style.restore(after),
        )
        known = replace(entry, sha256=digest(after)) if same and entry.packed is None else entry
        found[path] = Outcome(change, known)
    return found


def _named(text: str, old: str, new: str) -> bytes:
    """The text with the new wheel's file, and its version where the distribution is pinned."""
    version = re.escape(version_of(old) or "")
    name = re.sub(r"[-_.]+", "[-_.]+", DISTRIBUTION)
    text = text.replace(old, new)
    pattern = _PINNED.format(name=name, version=version)
    text = re.sub(pattern, lambda match: f"{match[1]}{version_of(new)}", text)
    return text.encode(errors="surrogateescape")
