"""The rules for people's files: written once; a job follows the spec, what is inherited follows the generator."""

from __future__ import annotations

from dataclasses import replace

from targcc_gen.render.tree import Owner, TreeFile
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merging.text import is_binary, plain
from targcc_gen.sync.plan.managed import managed, merged_outcome
from targcc_gen.sync.plan.outcome import (
    Outcome,
    Situation,
    entry_of,
    rebased,
    stays,
    written,
)
from targcc_gen.sync.plan.plan import Action, unified_diff

_BY_HAND = "add by hand what is new"


def scaffold(situation: Situation, generated: TreeFile, entry: LockEntry) -> Outcome:
    """Written once; of a job, what the spec says of it follows the spec."""
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
    """A file that follows the generator where that can be merged, and blocks nothing where it cannot."""
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
    """What the generator wrote last; where the lock has its checksum only, the text of an earlier release that has that.

    A pyproject.toml by a version between two releases is compared with a release's: what differs then counts as the person's.
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
    """Both sides' changes in one text; None where they collide."""
    if _by_key(situation.path):
        return _followed(situation, generated, base, text)
    known = rebased(entry, base)  # so that the rules see it
    outcome = merged_outcome(replace(situation, side=None), generated, known, text, base)
    if outcome.change.action is Action.CONFLICT:
        return None
    return _whole(situation, outcome, text) if situation.path.endswith(".py") else outcome


def _whole(situation: Situation, outcome: Outcome, text: bytes) -> Outcome | None:
    """A merged module with every import it needs; None where it would use what is gone."""
    from targcc_gen.sync.inherited.modules import completed

    if outcome.change.after is None:
        return outcome
    content = completed(plain(outcome.change.after), text)
    if content is None:
        return None
    after = situation.disk.style.restore(content)
    return replace(outcome, change=replace(outcome.change, after=after))


def _followed(
    situation: Situation, generated: TreeFile, base: bytes, text: bytes
) -> Outcome | None:
    from targcc_gen.sync.inherited.pyproject import follow

    found = follow(base, text, generated.content)
    if found is None:
        return None
    after = entry_of(situation, generated)
    note = unified_diff(situation.path, found.text, found.wanted)
    reason = f"yours stays where both changed the same; {_BY_HAND}" if note else ""
    if found.text == text:
        outcome = stays(situation, after, Action.KEEP if note else Action.UNCHANGED, reason)
    else:
        outcome = written(situation, after, Action.MERGE, reason or "by key", found.text)
    return _noting(outcome, note)


def _noting(outcome: Outcome, note: str) -> Outcome:
    return replace(outcome, change=replace(outcome.change, note=note))
