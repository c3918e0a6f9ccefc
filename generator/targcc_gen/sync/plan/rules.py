"""The rules: what happens to one file, from what the spec asks for, what the lock remembers and what is on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace

from targcc_gen.render.tree import Owner, TreeFile
from targcc_gen.sync.folder.disk import OnDisk
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merging.formats import Formats
from targcc_gen.sync.merging.merge import (
    Collision,
    Side,
    has_markers,
    whole_file,
    with_markers,
)
from targcc_gen.sync.merging.normal import says_the_same
from targcc_gen.sync.merging.python import merge_file
from targcc_gen.sync.merging.text import is_binary, lines_of, plain
from targcc_gen.sync.plan.plan import Action, Change


@dataclass(frozen=True)
class Situation:
    """All that is known about one path.

    Attributes:
        path: POSIX path below the project's folder.
        generated: The file as the spec asks for it; None when it asks for none.
        entry: What the lock remembers; None for a path that is new to it.
        disk: What is there now.
        side: How the person wants a conflict settled.
        adopt: Whether a file of the person's that is already there is simply theirs; else it is in the way.
        restore: Whether the person asked for the generator's text back.
        formats: How the project's Python may be written.
    """

    path: str
    generated: TreeFile | None
    entry: LockEntry | None
    disk: OnDisk
    formats: Formats
    side: Side | None = None
    adopt: bool = False
    restore: bool = False

    @property
    def owner(self) -> Owner:
        """Who edits the file."""
        known = self.generated or self.entry
        assert known is not None  # a path is in the tree, in the lock, or in both
        return known.owner


@dataclass(frozen=True)
class Outcome:
    """What happens to the file, and what the lock remembers afterwards (None: nothing)."""

    change: Change
    entry: LockEntry | None


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
        return _stays(situation, entry, Action.KEEP, "ejected")
    if situation.disk.raw is None and situation.disk.blocked is None:
        return _stays(situation, entry, Action.KEEP, "you deleted it; restore brings it back")
    if has_markers(situation.disk.raw or b"") and situation.side is None:
        return _conflict(situation, entry, "it still has conflict markers", settleable=False)
    if generated.owner is Owner.SCAFFOLD:
        return _scaffold(situation, generated, entry)
    return _managed(situation, generated, entry)


def _left(situation: Situation) -> Outcome:
    """The spec does not ask for the file any more."""
    entry, text = situation.entry, situation.disk.text
    assert entry is not None  # else nobody would know of the path
    if entry.owner is Owner.PATCHED:
        return _stays(situation, entry, Action.UNCHANGED, "")
    if entry.ejected:
        return _stays(situation, None, Action.KEEP, "ejected; nothing asks for it any more")
    if text is None:
        return _stays(situation, None, Action.UNCHANGED, "it is gone already")
    if digest(text) != entry.sha256 and not is_formatted(entry, text):
        reason = "you edited it, and nothing asks for it any more: delete it if you do not need it"
        return _stays(situation, None, Action.KEEP, reason)
    if situation.disk.blocked:
        return _conflict(situation, entry, situation.disk.blocked, settleable=False)
    reason = "nothing asks for it any more"
    change = Change(situation.path, Action.DELETE, reason, entry.owner, situation.disk.raw)
    return Outcome(change, None)


def _edited(situation: Situation, generated: TreeFile) -> Outcome:
    """A command computed the new text from the text on disk."""
    disk = situation.disk
    entry = LockEntry.of(generated.path, generated.owner, plain(generated.content), keep_base=False)
    if disk.raw == generated.content:
        return _stays(situation, entry, Action.UNCHANGED, "")
    if disk.blocked:
        return _conflict(situation, situation.entry, disk.blocked, settleable=False)
    if generated.replaces is not None and disk.raw != generated.replaces:
        reason = "it changed while it was being read: run the command again"
        return _conflict(situation, situation.entry, reason, settleable=False)
    action = Action.CREATE if disk.raw is None else Action.UPDATE
    change = _change(situation, action, "")
    return Outcome(replace(change, after=generated.content), entry)


def _new(situation: Situation, generated: TreeFile) -> Outcome:
    """The lock does not know the path yet."""
    disk, entry = situation.disk, _entry(situation, generated)
    if disk.raw is None and disk.blocked is None:
        return _written(situation, entry, Action.CREATE, "", generated.content)
    if disk.text == plain(generated.content):
        return _stays(situation, entry, Action.UNCHANGED, "it is there already")
    if generated.owner is Owner.SCAFFOLD and situation.adopt:
        return _stays(situation, entry, Action.KEEP, "yours was there already")
    return _whole_file(situation, generated, "it is there already, and targcc-gen did not make it")


def _restored(situation: Situation, generated: TreeFile) -> Outcome:
    """The person asked for the generator's text back."""
    disk, entry = situation.disk, _entry(situation, generated)
    if disk.raw is None and disk.blocked is None:
        return _written(situation, entry, Action.CREATE, "restored", generated.content)
    if disk.text == generated.content:
        return _stays(situation, entry, Action.UNCHANGED, "")
    return _whole_file(situation, generated, "restoring it would drop what you wrote")


def _scaffold(situation: Situation, generated: TreeFile, entry: LockEntry) -> Outcome:
    """Written once; of a job, the decorator's arguments follow the spec."""
    text, base = situation.disk.text, entry.base
    if not generated.job or text is None or base is None or base == generated.content:
        return _stays(situation, entry, Action.UNCHANGED, "")
    from targcc_gen.sync.decorators.sync_decorator import sync_decorator

    synced = sync_decorator(mine=text, base=base, generated=generated.content, side=situation.side)
    if synced.problem:
        if situation.side is Side.MINE:
            return _stays(situation, _rebased(entry, synced.base), Action.KEEP, "as you wished")
        return _conflict(situation, entry, synced.problem)
    if synced.collisions:
        reason = "you and the spec changed the same argument of @job"
        return _conflict(situation, entry, reason, synced.collisions)
    after = _rebased(entry, synced.base)
    if synced.text == text:
        return _stays(situation, after, Action.UNCHANGED, "")
    reason = f"@job follows the spec: {', '.join(synced.changed)}"
    return _written(situation, after, Action.UPDATE, reason, synced.text)


def _managed(situation: Situation, generated: TreeFile, entry: LockEntry) -> Outcome:
    """The generator's changes are merged into whatever people made of the file."""
    text, after = situation.disk.text, _entry(situation, generated)
    if text == generated.content:
        return _stays(situation, after, Action.UNCHANGED, "")
    if text is None:
        return _conflict(situation, entry, situation.disk.blocked or "", settleable=False)
    if entry.sha256 == after.sha256:
        return _stays(situation, after, Action.UNCHANGED, "your edits stand")
    if digest(text) == entry.sha256:
        return _written(situation, after, Action.UPDATE, "", generated.content)
    if entry.base is None or is_binary(text) or is_binary(generated.content):
        return _whole_file(situation, generated, "you and targcc-gen both changed it")
    return _merged(situation, generated, entry, text, entry.base)


def _merged(
    situation: Situation, generated: TreeFile, entry: LockEntry, text: bytes, base: bytes
) -> Outcome:
    merged = merge_file(
        generated.path,
        base,
        text,
        generated.content,
        formats=situation.formats,
        side=situation.side,
    )
    after = _entry(situation, generated)
    if merged.collisions:
        outcome = _conflict(situation, entry, "", merged.collisions)
        if situation.side is not Side.MARKERS:
            return outcome
        return _marked(situation, outcome, after, merged.text)
    if merged.text == text:
        return _stays(situation, after, Action.UNCHANGED, "it has the change already")
    if problem := _broken_python(generated.path, before=text, after=merged.text):
        return _whole_file(situation, generated, f"merged it would be no valid Python: {problem}")
    if is_formatted(entry, text):
        return _written(situation, after, Action.UPDATE, "in your formatting", merged.text)
    action = Action.UPDATE if merged.text == generated.content else Action.MERGE
    return _written(situation, after, action, _kept(merged.kept), merged.text)


def _kept(lines: int) -> str:
    if lines == 0:
        return ""
    return "your line kept" if lines == 1 else f"your {lines} lines kept"


def _whole_file(situation: Situation, generated: TreeFile, reason: str) -> Outcome:
    """Two texts without a common base, or a merge that does not hold: all of one, or all of the other."""
    disk, side, after = situation.disk, situation.side, _entry(situation, generated)
    if side is Side.MINE:
        return _stays(situation, after, Action.KEEP, "as you wished")
    if disk.text is None or disk.blocked:
        return _conflict(situation, situation.entry, disk.blocked or "", settleable=False)
    if side is Side.GENERATED:
        return _written(situation, after, Action.UPDATE, "as you wished", generated.content)
    binary = is_binary(disk.text) or is_binary(generated.content)
    collisions = () if binary else (whole_file(disk.text, generated.content),)
    outcome = _conflict(situation, situation.entry, reason, collisions)
    if side is Side.MARKERS and not binary:
        marked = with_markers(lines_of(disk.text), lines_of(generated.content))
        return _marked(situation, outcome, after, b"".join(marked))
    return outcome


def _stays(situation: Situation, entry: LockEntry | None, action: Action, reason: str) -> Outcome:
    return Outcome(_change(situation, action, reason), entry)


def _written(
    situation: Situation, entry: LockEntry | None, action: Action, reason: str, text: bytes
) -> Outcome:
    """Write `text` in the style the file has, unless something is in the way."""
    if situation.disk.blocked:
        return _conflict(situation, situation.entry, situation.disk.blocked, settleable=False)
    change = _change(situation, action, reason)
    return Outcome(replace(change, after=situation.disk.style.restore(text)), entry)


def _conflict(
    situation: Situation,
    entry: LockEntry | None,
    reason: str,
    collisions: tuple[Collision, ...] = (),
    *,
    settleable: bool = True,
) -> Outcome:
    change = _change(situation, Action.CONFLICT, reason)
    return Outcome(replace(change, collisions=collisions, settleable=settleable), entry)


def _marked(situation: Situation, conflict: Outcome, after: LockEntry, text: bytes) -> Outcome:
    """A conflict that is written into the file, for the person to edit."""
    if situation.disk.blocked:
        return conflict
    content = situation.disk.style.restore(text)
    return Outcome(replace(conflict.change, after=content), after)


def _change(situation: Situation, action: Action, reason: str) -> Change:
    generated = situation.generated
    return Change(
        situation.path,
        action,
        reason,
        situation.owner,
        before=situation.disk.raw,
        executable=generated is not None and generated.executable,
        summary="" if generated is None else generated.summary,
    )


def _entry(situation: Situation, generated: TreeFile) -> LockEntry:
    """What the lock remembers of the generator's text; the entry it has already, when that says the same."""
    known = situation.entry
    if (
        known is not None
        and known.owner is generated.owner
        and not known.ejected
        and known.sha256 == digest(generated.content)
    ):
        return known
    keep_base = generated.job or (
        generated.owner is Owner.MANAGED and not is_binary(generated.content)
    )
    return LockEntry.of(
        generated.path, generated.owner, plain(generated.content), keep_base=keep_base
    )


def _rebased(entry: LockEntry, base: bytes) -> LockEntry:
    return LockEntry.of(entry.path, entry.owner, base, keep_base=True)


def is_formatted(entry: LockEntry, text: bytes) -> bool:
    """Whether a person's file differs from the generator's text in its formatting alone."""
    if not entry.path.endswith(".py") or entry.base is None:
        return False
    return says_the_same(entry.base, text)


def _broken_python(path: str, *, before: bytes, after: bytes) -> str | None:
    """What is wrong with the merged module, when the person's was right."""
    if not path.endswith(".py"):
        return None
    import ast

    try:
        ast.parse(after)
    except (SyntaxError, ValueError) as problem:
        try:
            ast.parse(before)
        except (SyntaxError, ValueError):
            return None
        return str(problem)
    return None
