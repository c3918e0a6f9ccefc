"""The rules: what happens to one file, from what the spec asks for, what the lock remembers and what is on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace

from targcc_gen.render.tree import Owner, TreeFile
from targcc_gen.sync.disk import OnDisk
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merge import Collision, Side, has_markers, merge, whole_file, with_markers
from targcc_gen.sync.plan import Action, Change
from targcc_gen.sync.text import is_binary, lines_of, plain


@dataclass(frozen=True)
class Situation:
    """All that is known about one path.

    Attributes:
        path: POSIX path below the project's folder.
        ours: The file as the spec asks for it; None when it asks for none.
        entry: What the lock remembers; None for a path that is new to it.
        disk: What is there now.
        side: How the person wants a conflict settled.
        adopt: Whether a file of the person's that is already there is simply theirs; else it is in the way.
        restore: Whether the person asked for the generator's text back.
    """

    path: str
    ours: TreeFile | None
    entry: LockEntry | None
    disk: OnDisk
    side: Side | None = None
    adopt: bool = False
    restore: bool = False

    @property
    def owner(self) -> Owner:
        """Who edits the file."""
        known = self.ours or self.entry
        assert known is not None  # a path is in the tree, in the lock, or in both
        return known.owner


@dataclass(frozen=True)
class Outcome:
    """What happens to the file, and what the lock remembers afterwards (None: nothing)."""

    change: Change
    entry: LockEntry | None


def decide(situation: Situation) -> Outcome:  # noqa: PLR0911 - one line for each rule, in order
    """Apply the rules to one file."""
    ours, entry = situation.ours, situation.entry
    if ours is None:
        return _left(situation)
    if ours.replaces is not None or ours.owner is Owner.PATCHED:
        return _edited(situation, ours)
    if entry is None:
        return _new(situation, ours)
    if situation.restore:
        return _restored(situation, ours)
    if entry.ejected:
        return _stays(situation, entry, Action.KEEP, "ejected")
    if situation.disk.raw is None and situation.disk.blocked is None:
        return _stays(situation, entry, Action.KEEP, "you deleted it; restore brings it back")
    if has_markers(situation.disk.raw or b"") and situation.side is None:
        return _conflict(situation, entry, "it still has conflict markers", settleable=False)
    if ours.owner is Owner.SCAFFOLD:
        return _scaffold(situation, ours, entry)
    return _managed(situation, ours, entry)


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
    if digest(text) != entry.sha256:
        reason = "you edited it, and nothing asks for it any more: delete it if you do not need it"
        return _stays(situation, None, Action.KEEP, reason)
    if situation.disk.blocked:
        return _conflict(situation, entry, situation.disk.blocked, settleable=False)
    reason = "nothing asks for it any more"
    change = Change(situation.path, Action.DELETE, reason, entry.owner, situation.disk.raw)
    return Outcome(change, None)


def _edited(situation: Situation, ours: TreeFile) -> Outcome:
    """A command computed the new text from the text on disk."""
    disk = situation.disk
    entry = LockEntry.of(ours.path, ours.owner, plain(ours.content), keep_base=False)
    if disk.raw == ours.content:
        return _stays(situation, entry, Action.UNCHANGED, "")
    if disk.blocked:
        return _conflict(situation, situation.entry, disk.blocked, settleable=False)
    if ours.replaces is not None and disk.raw != ours.replaces:
        reason = "it changed while it was being read: run the command again"
        return _conflict(situation, situation.entry, reason, settleable=False)
    action = Action.CREATE if disk.raw is None else Action.UPDATE
    change = _change(situation, action, "")
    return Outcome(replace(change, after=ours.content), entry)


def _new(situation: Situation, ours: TreeFile) -> Outcome:
    """The lock does not know the path yet."""
    disk, entry = situation.disk, _entry(situation, ours)
    if disk.raw is None and disk.blocked is None:
        return _written(situation, entry, Action.CREATE, "", ours.content)
    if disk.text == plain(ours.content):
        return _stays(situation, entry, Action.UNCHANGED, "it is there already")
    if ours.owner is Owner.SCAFFOLD and situation.adopt:
        return _stays(situation, entry, Action.KEEP, "yours was there already")
    return _whole_file(situation, ours, "it is there already, and targcc-gen did not make it")


def _restored(situation: Situation, ours: TreeFile) -> Outcome:
    """The person asked for the generator's text back."""
    disk, entry = situation.disk, _entry(situation, ours)
    if disk.raw is None and disk.blocked is None:
        return _written(situation, entry, Action.CREATE, "restored", ours.content)
    if disk.text == ours.content:
        return _stays(situation, entry, Action.UNCHANGED, "")
    return _whole_file(situation, ours, "restoring it would drop what you wrote")


def _scaffold(situation: Situation, ours: TreeFile, entry: LockEntry) -> Outcome:
    """Written once; of a job, the decorator's arguments follow the spec."""
    text, base = situation.disk.text, entry.base
    if not ours.job or text is None or base is None or base == ours.content:
        return _stays(situation, entry, Action.UNCHANGED, "")
    from targcc_gen.sync.decorators import follow

    followed = follow(yours=text, base=base, ours=ours.content, side=situation.side)
    if followed.problem:
        if situation.side is Side.THEIRS:
            return _stays(situation, _rebased(entry, followed.base), Action.KEEP, "as you wished")
        return _conflict(situation, entry, followed.problem)
    if followed.collisions:
        reason = "you and the spec changed the same argument of @job"
        return _conflict(situation, entry, reason, followed.collisions)
    after = _rebased(entry, followed.base)
    if followed.text == text:
        return _stays(situation, after, Action.UNCHANGED, "")
    reason = f"@job follows the spec: {', '.join(followed.changed)}"
    return _written(situation, after, Action.UPDATE, reason, followed.text)


def _managed(situation: Situation, ours: TreeFile, entry: LockEntry) -> Outcome:
    """The generator's changes are merged into whatever people made of the file."""
    text, after = situation.disk.text, _entry(situation, ours)
    if text == ours.content:
        return _stays(situation, after, Action.UNCHANGED, "")
    if text is None:
        return _conflict(situation, entry, situation.disk.blocked or "", settleable=False)
    if entry.sha256 == after.sha256:
        return _stays(situation, after, Action.UNCHANGED, "your edits stand")
    if digest(text) == entry.sha256:
        return _written(situation, after, Action.UPDATE, "", ours.content)
    if entry.base is None or is_binary(text) or is_binary(ours.content):
        return _whole_file(situation, ours, "you and targcc-gen both changed it")
    return _merged(situation, ours, entry, text, entry.base)


def _merged(
    situation: Situation, ours: TreeFile, entry: LockEntry, text: bytes, base: bytes
) -> Outcome:
    merged = merge(base, text, ours.content, situation.side)
    after = _entry(situation, ours)
    if merged.collisions:
        outcome = _conflict(situation, entry, "", merged.collisions)
        if situation.side is not Side.MARKERS:
            return outcome
        return _marked(situation, outcome, after, merged.text)
    if merged.text == text:
        return _stays(situation, after, Action.UNCHANGED, "it has the change already")
    if problem := _broken_python(ours.path, before=text, after=merged.text):
        return _whole_file(situation, ours, f"merged it would be no valid Python: {problem}")
    if merged.text == ours.content:
        return _written(situation, after, Action.UPDATE, "", merged.text)
    reason = "your line kept" if merged.kept == 1 else f"your {merged.kept} lines kept"
    return _written(situation, after, Action.MERGE, reason, merged.text)


def _whole_file(situation: Situation, ours: TreeFile, reason: str) -> Outcome:
    """Two texts without a common base, or a merge that does not hold: all of one, or all of the other."""
    disk, side, after = situation.disk, situation.side, _entry(situation, ours)
    if side is Side.THEIRS:
        return _stays(situation, after, Action.KEEP, "as you wished")
    if disk.text is None or disk.blocked:
        return _conflict(situation, situation.entry, disk.blocked or "", settleable=False)
    if side is Side.OURS:
        return _written(situation, after, Action.UPDATE, "as you wished", ours.content)
    binary = is_binary(disk.text) or is_binary(ours.content)
    collisions = () if binary else (whole_file(disk.text, ours.content),)
    outcome = _conflict(situation, situation.entry, reason, collisions)
    if side is Side.MARKERS and not binary:
        marked = with_markers(lines_of(disk.text), lines_of(ours.content))
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
    ours = situation.ours
    return Change(
        situation.path,
        action,
        reason,
        situation.owner,
        before=situation.disk.raw,
        executable=ours is not None and ours.executable,
        summary="" if ours is None else ours.summary,
    )


def _entry(situation: Situation, ours: TreeFile) -> LockEntry:
    """What the lock remembers of the generator's text; the entry it has already, when that says the same."""
    known = situation.entry
    if (
        known is not None
        and known.owner is ours.owner
        and not known.ejected
        and known.sha256 == digest(ours.content)
    ):
        return known
    keep_base = ours.job or (ours.owner is Owner.MANAGED and not is_binary(ours.content))
    return LockEntry.of(ours.path, ours.owner, plain(ours.content), keep_base=keep_base)


def _rebased(entry: LockEntry, base: bytes) -> LockEntry:
    return LockEntry.of(entry.path, entry.owner, base, keep_base=True)


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
