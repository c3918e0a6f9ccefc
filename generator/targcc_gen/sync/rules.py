"""Rules for one file: map spec, lock and disk to an outcome."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from targcc_gen.render.package import DISTRIBUTION
from targcc_gen.render.tree import Owner, Tree, TreeFile
from targcc_gen.render.wheel import version_of
from targcc_gen.sync.disk import Disk
from targcc_gen.sync.jobs.removed import left_edited
from targcc_gen.sync.lock import Lock, LockEntry, digest
from targcc_gen.sync.merge import has_markers, is_binary, plain
from targcc_gen.sync.plan.managed import managed, merged_outcome, whole_outcome
from targcc_gen.sync.plan.plan import (
    Action,
    Change,
    Outcome,
    Situation,
    change_of,
    conflict,
    entry_of,
    is_formatted,
    rebased,
    stays,
    unified_diff,
    written,
)

# Users' files: written once; a job follows the spec, inherited parts follow the generator.

_BY_HAND = "add by hand what is new"


def scaffold(situation: Situation, generated: TreeFile, entry: LockEntry) -> Outcome:
    """Return the outcome of a file that is written once; a job's decorator and arguments follow the spec."""
    text, base = situation.disk.text, entry.base
    same = digest(plain(generated.content)) == entry.sha256
    is_as_made = same and text == generated.content
    if generated.job is None or text is None or base is None or is_as_made:
        return stays(
            situation, entry_of(situation, generated) if same else entry, Action.UNCHANGED, ""
        )
    from targcc_gen.sync.jobs.module import job_module

    return job_module(situation, generated, entry, text, base)


def inherited(situation: Situation, generated: TreeFile, entry: LockEntry) -> Outcome:
    """Merge the generator's changes into the file; on a collision keep the user's file and attach a diff instead of a conflict."""
    text, after = situation.disk.text, entry_of(situation, generated)
    if generated.owner is Owner.MANAGED and situation.side is not None:
        return managed(situation, generated, entry)
    if text is None or text == generated.content or after.sha256 == entry.sha256:
        return stays(situation, after, Action.UNCHANGED, "")
    base = _base(generated, entry)
    if not situation.disk.blocked:
        if digest(text) == entry.sha256:
            return written(situation, after, Action.UPDATE, "", generated.content)
        if base is not None and not is_binary(text):
            outcome = _merged(situation, generated, entry, text, base)
            if outcome is not None:
                return outcome
    outcome = stays(situation, after, Action.KEEP, f"yours; {_BY_HAND}")
    old = text if base is None else base
    return _noting(outcome, unified_diff(situation.path, old, generated.content))


def _base(generated: TreeFile, entry: LockEntry) -> bytes | None:
    """Return the generator's last text. Where the lock has only a checksum, look for an earlier release's text with that checksum.

    For a pyproject.toml without such a text, return the text of the latest earlier release: all differences count as edits.
    """
    if entry.base is not None:
        return entry.base
    same = [text for text in generated.earlier if digest(text) == entry.sha256]
    near = generated.earlier[-1:] if _by_key(entry.path) else ()
    return next(iter((*same, *near)), None)


def _by_key(path: str) -> bool:
    return path == "pyproject.toml"


def _merged(
    situation: Situation, generated: TreeFile, entry: LockEntry, text: bytes, base: bytes
) -> Outcome | None:
    """Merge the changes of both sides; return None where the changes collide."""
    if _by_key(situation.path):
        return _followed(situation, generated, base, text)
    known = rebased(entry, base)  # the rules read the base from the entry
    outcome = merged_outcome(replace(situation, side=None), generated, known, text, base)
    if outcome.change.action is Action.CONFLICT:
        return None
    return _whole(situation, outcome, text) if situation.path.endswith(".py") else outcome


def _whole(situation: Situation, outcome: Outcome, text: bytes) -> Outcome | None:
    """Add the imports that a merged module needs; return None where the module would use a name that is gone."""
    from targcc_gen.sync.renames.imports import with_needed_imports

    if outcome.change.after is None:
        return outcome
    content = with_needed_imports(plain(outcome.change.after), text)
    if content is None:
        return None
    after = situation.disk.style.restore(content)
    return replace(outcome, change=replace(outcome.change, after=after))


def _followed(
    situation: Situation, generated: TreeFile, base: bytes, text: bytes
) -> Outcome | None:
    from targcc_gen.sync.pyproject import merge_pyproject

    merged = merge_pyproject(base, text, generated.content)
    if merged is None:
        return None
    after = entry_of(situation, generated)
    note = unified_diff(situation.path, merged.text, merged.wanted)
    reason = f"yours stays where both changed the same; {_BY_HAND}" if note else ""
    if merged.text == text:
        outcome = stays(situation, after, Action.KEEP if note else Action.UNCHANGED, reason)
    else:
        outcome = written(situation, after, Action.MERGE, reason or "by key", merged.text)
    return _noting(outcome, note)


def _noting(outcome: Outcome, note: str) -> Outcome:
    return replace(outcome, change=replace(outcome.change, note=note))


# Choose the rule.


def decide(situation: Situation) -> Outcome:  # noqa: PLR0911 - one line for each rule, in order
    """Apply the rules to one file."""
    generated, entry = situation.generated, situation.entry
    if generated is None:
        return _left(situation)
    if generated.replaces is not None or generated.owner is Owner.PATCHED:
        return _edited(situation, generated)
    if entry is None:
        return _new(situation, generated)
    if situation.restore:
        return _restored(situation, generated)
    if entry.ejected:
        return stays(situation, entry, Action.KEEP, "ejected")
    if situation.disk.raw is None and situation.disk.blocked is None:
        return stays(situation, entry, Action.KEEP, "you deleted it; restore brings it back")
    if has_markers(situation.disk.raw or b"") and situation.side is None:
        return conflict(situation, entry, "it still has conflict markers", settleable=False)
    if generated.inherited:
        return inherited(situation, generated, entry)
    if generated.owner is Owner.SCAFFOLD and not generated.whole:
        return scaffold(situation, generated, entry)
    return managed(situation, generated, entry)


def _left(situation: Situation) -> Outcome:
    """Return the outcome of a file that has left the spec."""
    entry, text = situation.entry, situation.disk.text
    assert entry is not None  # else the path would be unknown
    if entry.owner is Owner.PATCHED:
        return stays(situation, entry, Action.UNCHANGED, "")
    if entry.ejected:
        return stays(situation, None, Action.KEEP, "ejected; nothing asks for it any more")
    if text is None:
        return stays(situation, None, Action.UNCHANGED, "it is gone already")
    if digest(text) != entry.sha256 and not is_formatted(entry, text) and not situation.retire:
        return left_edited(situation, entry, text)
    if situation.disk.blocked:
        return conflict(situation, entry, situation.disk.blocked, settleable=False)
    reason = "nothing asks for it any more"
    change = Change(situation.path, Action.DELETE, reason, entry.owner, situation.disk.raw)
    return Outcome(change, None)


def _edited(situation: Situation, generated: TreeFile) -> Outcome:
    """Return the outcome of a file whose new text a command computed from the text on disk."""
    disk = situation.disk
    after = _laid_out(situation, generated) if disk.raw is None else generated.content
    entry = LockEntry.of(generated.path, generated.owner, plain(after), keep_base=False)
    entry = replace(entry, added=generated.added)
    if disk.raw == after:
        return stays(situation, entry, Action.UNCHANGED, "")
    if disk.blocked:
        return conflict(situation, situation.entry, disk.blocked, settleable=False)
    if generated.replaces is not None and disk.raw != generated.replaces:
        reason = "it changed while it was being read: run the command again"
        return conflict(situation, situation.entry, reason, settleable=False)
    action = Action.CREATE if disk.raw is None else Action.UPDATE
    change = change_of(situation, action, "")
    return Outcome(replace(change, after=after), entry)


def _laid_out(situation: Situation, generated: TreeFile) -> bytes:
    """Return the text of a file that the project does not have yet."""
    return situation.formats.created(situation.path, generated.content)


def _new(situation: Situation, generated: TreeFile) -> Outcome:
    """Return the outcome of a path that is new to the lock."""
    disk, entry = situation.disk, entry_of(situation, generated)
    if disk.raw is None and disk.blocked is None:
        return written(situation, entry, Action.CREATE, "", _laid_out(situation, generated))
    if disk.text == plain(generated.content):
        return stays(situation, entry, Action.UNCHANGED, "it is there already")
    if generated.owner is Owner.SCAFFOLD and situation.adopt:
        return stays(situation, entry, Action.KEEP, "yours was there already")
    return whole_outcome(
        situation, generated, "it is there already, and targcc-gen did not make it"
    )


def _restored(situation: Situation, generated: TreeFile) -> Outcome:
    """Return the outcome of a file that the user asked to restore."""
    disk, entry = situation.disk, entry_of(situation, generated)
    if disk.raw is None and disk.blocked is None:
        return written(situation, entry, Action.CREATE, "restored", _laid_out(situation, generated))
    if disk.text == generated.content:
        return stays(situation, entry, Action.UNCHANGED, "")
    return whole_outcome(situation, generated, "restoring it would drop what you wrote")


# Requirements of an existing app that name the vendored wheel.

_PINNED = r"(?i)(\b{name}(?:\[[^\]]*\])?\s*==\s*){version}(?![\w.+])"


def renewed(
    tree: Tree, lock: Lock, disk: Disk, outcomes: Mapping[str, Outcome]
) -> dict[str, Outcome]:
    """Replace the name of the old wheel with the new wheel in files edited by `patch`.

    Args:
        tree: The rendered tree, with the new wheel.
        lock: The lock of the last run, with the old wheel.
        disk: The project's files.
        outcomes: Outcome of each file.
    """
    new = next((path for path in tree.files if version_of(path)), None)
    old = [path for path in lock.entries if version_of(path) and path != new]
    if new is None or not old:
        return {}
    result: dict[str, Outcome] = {}
    for path, outcome in outcomes.items():
        entry, on_disk = outcome.entry, disk.look(path)
        if entry is None or entry.owner is not Owner.PATCHED or path.endswith(".py"):
            continue
        if on_disk.text is None or on_disk.blocked or outcome.change.after is not None:
            continue
        after = on_disk.text
        for wheel in old:
            after = _named(after.decode(errors="surrogateescape"), wheel, new)
        if after == on_disk.text:
            continue
        same = digest(on_disk.text) == entry.sha256
        change = replace(
            outcome.change,
            action=Action.UPDATE,
            reason=f"the scheduler is {new} now",
            after=on_disk.style.restore(after),
        )
        known = replace(entry, sha256=digest(after)) if same and entry.packed is None else entry
        result[path] = Outcome(change, known)
    return result


def _named(text: str, old: str, new: str) -> bytes:
    """Replace the old wheel's path with the new wheel's, and its version where the distribution is pinned."""
    version = re.escape(version_of(old) or "")
    name = re.sub(r"[-_.]+", "[-_.]+", DISTRIBUTION)
    text = text.replace(old, new)
    pattern = _PINNED.format(name=name, version=version)
    text = re.sub(pattern, lambda match: f"{match[1]}{version_of(new)}", text)
    return text.encode(errors="surrogateescape")
