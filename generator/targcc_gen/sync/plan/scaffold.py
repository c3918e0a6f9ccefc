"""The rules for people's files: written once; a job's decorator follows the spec, what is inherited follows the generator."""

from __future__ import annotations

from dataclasses import replace

from targcc_gen.render.tree import TreeFile
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merging.merge import Side
from targcc_gen.sync.merging.text import is_binary, plain
from targcc_gen.sync.plan.managed import merged_outcome
from targcc_gen.sync.plan.outcome import (
    Outcome,
    Situation,
    conflict,
    entry_of,
    rebased,
    stays,
    written,
)
from targcc_gen.sync.plan.plan import Action, unified_diff


def scaffold(situation: Situation, generated: TreeFile, entry: LockEntry) -> Outcome:
    """Written once; of a job, the decorator's arguments follow the spec."""
    text, base = situation.disk.text, entry.base
    if not generated.job or text is None or base is None or base == generated.content:
        same = digest(plain(generated.content)) == entry.sha256
        return stays(
            situation, entry_of(situation, generated) if same else entry, Action.UNCHANGED, ""
        )
    from targcc_gen.sync.decorators.sync_decorator import sync_decorator

    synced = sync_decorator(mine=text, base=base, generated=generated.content, side=situation.side)
    if synced.problem:
        if situation.side is Side.MINE:
            return stays(situation, rebased(entry, synced.base), Action.KEEP, "as you wished")
        return conflict(situation, entry, synced.problem)
    if synced.collisions:
        reason = "you and the spec changed the same argument of @job"
        return conflict(situation, entry, reason, synced.collisions)
    after = rebased(entry, synced.base)
    if synced.text == text:
        return stays(situation, after, Action.UNCHANGED, "")
    reason = f"@job follows the spec: {', '.join(synced.changed)}"
    return written(situation, after, Action.UPDATE, reason, synced.text)


def inherited(situation: Situation, generated: TreeFile, entry: LockEntry) -> Outcome:
    """A file of the person's that follows the generator where that can be merged; it is never in the way of anything."""
    text, after = situation.disk.text, entry_of(situation, generated)
    base = _base(generated, entry)
    if text is None or text == generated.content or after.sha256 == entry.sha256:
        return stays(situation, after, Action.UNCHANGED, "")
    if not situation.disk.blocked:
        if digest(text) == entry.sha256:
            return written(situation, after, Action.UPDATE, "", generated.content)
        if base is not None and not is_binary(text):
            known = rebased(entry, base)  # so that the rules see it
            outcome = merged_outcome(replace(situation, side=None), generated, known, text, base)
            if outcome.change.action is not Action.CONFLICT:
                return outcome
    note = unified_diff(situation.path, text if base is None else base, generated.content)
    outcome = stays(situation, after, Action.KEEP, "yours; add by hand what is new")
    return replace(outcome, change=replace(outcome.change, note=note))


def _base(generated: TreeFile, entry: LockEntry) -> bytes | None:
    """What the generator wrote last; where the lock has its checksum only, the text of an earlier release that has that."""
    if entry.base is not None:
        return entry.base
    return next((text for text in generated.earlier if digest(text) == entry.sha256), None)
