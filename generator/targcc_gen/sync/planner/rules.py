"""The rules: what happens to one file, from what the spec asks for, what the lock remembers and what is on disk."""

from __future__ import annotations

from dataclasses import replace

from targcc_gen.render.tree import Owner, TreeFile
from targcc_gen.sync.jobs.left import left_edited
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merging.merge import has_markers
from targcc_gen.sync.merging.text import plain
from targcc_gen.sync.plan.managed import managed, whole_outcome
from targcc_gen.sync.plan.outcome import (
    Outcome,
    Situation,
    change_of,
    conflict,
    entry_of,
    is_formatted,
    stays,
    written,
)
from targcc_gen.sync.plan.plan import Action, Change
from targcc_gen.sync.planner.scaffold import inherited, scaffold


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
    """The spec does not ask for the file any more."""
    entry, text = situation.entry, situation.disk.text
    assert entry is not None  # else nobody would know of the path
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
    """A command computed the new text from the text on disk."""
    disk = situation.disk
    entry = LockEntry.of(generated.path, generated.owner, plain(generated.content), keep_base=False)
    entry = replace(entry, added=generated.added)
    if disk.raw == generated.content:
        return stays(situation, entry, Action.UNCHANGED, "")
    if disk.blocked:
        return conflict(situation, situation.entry, disk.blocked, settleable=False)
    if generated.replaces is not None and disk.raw != generated.replaces:
        reason = "it changed while it was being read: run the command again"
        return conflict(situation, situation.entry, reason, settleable=False)
    action = Action.CREATE if disk.raw is None else Action.UPDATE
    change = change_of(situation, action, "")
    return Outcome(replace(change, after=generated.content), entry)


def _new(situation: Situation, generated: TreeFile) -> Outcome:
    """The lock does not know the path yet."""
    disk, entry = situation.disk, entry_of(situation, generated)
    if disk.raw is None and disk.blocked is None:
        return written(situation, entry, Action.CREATE, "", generated.content)
    if disk.text == plain(generated.content):
        return stays(situation, entry, Action.UNCHANGED, "it is there already")
    if generated.owner is Owner.SCAFFOLD and situation.adopt:
        return stays(situation, entry, Action.KEEP, "yours was there already")
    return whole_outcome(
        situation, generated, "it is there already, and targcc-gen did not make it"
    )


def _restored(situation: Situation, generated: TreeFile) -> Outcome:
    """The person asked for the generator's text back."""
    disk, entry = situation.disk, entry_of(situation, generated)
    if disk.raw is None and disk.blocked is None:
        return written(situation, entry, Action.CREATE, "restored", generated.content)
    if disk.text == generated.content:
        return stays(situation, entry, Action.UNCHANGED, "")
    return whole_outcome(situation, generated, "restoring it would drop what you wrote")
