"""What is known about one path, what happens to it, and what the lock remembers afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace

from targcc_gen.render.tree import Owner, TreeFile
from targcc_gen.sync.folder.disk import OnDisk
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merging.formats import Formats
from targcc_gen.sync.merging.merge import Collision, Side
from targcc_gen.sync.merging.normal import says_the_same
from targcc_gen.sync.merging.text import is_binary, plain
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
        whole_spec: Whether the plan is about all that the spec asks for.
        retire: Whether the person asked for the file to go.
    """

    path: str
    generated: TreeFile | None
    entry: LockEntry | None
    disk: OnDisk
    formats: Formats
    side: Side | None = None
    adopt: bool = False
    restore: bool = False
    whole_spec: bool = False
    retire: bool = False

    @property
    def owner(self) -> Owner:
        """Who edits the file."""
        known = self.generated or self.entry
        assert known is not None  # a path is in the tree, in the lock, or in both
        return known.owner


@dataclass(frozen=True)
class Outcome:
    """What happens to the file.

    Attributes:
        change: What happens.
        entry: What the lock remembers afterwards; None is nothing.
        reshaped: Whether a job's module is of another kind or has other arguments, so that its test has to follow.
        drops: Whether a body that somebody wrote goes; it is kept aside.
    """

    change: Change
    entry: LockEntry | None
    reshaped: bool = False
    drops: bool = False


def stays(situation: Situation, entry: LockEntry | None, action: Action, reason: str) -> Outcome:
    """The file is left as it is."""
    return Outcome(change_of(situation, action, reason), entry)


def written(
    situation: Situation, entry: LockEntry | None, action: Action, reason: str, text: bytes
) -> Outcome:
    """Write `text` in the style the file has, unless something is in the way."""
    if situation.disk.blocked:
        return conflict(situation, situation.entry, situation.disk.blocked, settleable=False)
    change = change_of(situation, action, reason)
    return Outcome(replace(change, after=situation.disk.style.restore(text)), entry)


def conflict(
    situation: Situation,
    entry: LockEntry | None,
    reason: str,
    collisions: tuple[Collision, ...] = (),
    *,
    settleable: bool = True,
) -> Outcome:
    """A person has to settle something.

    Args:
        situation: The file.
        entry: What the lock remembers as long as that is not done.
        reason: What it is, where the collisions do not say it.
        collisions: The places.
        settleable: Whether choosing a side settles it.
    """
    change = change_of(situation, Action.CONFLICT, reason)
    return Outcome(replace(change, collisions=collisions, settleable=settleable), entry)


def marked(situation: Situation, conflict: Outcome, after: LockEntry, text: bytes) -> Outcome:
    """A conflict that is written into the file, for the person to edit."""
    if situation.disk.blocked:
        return conflict
    content = situation.disk.style.restore(text)
    return Outcome(replace(conflict.change, after=content), after)


def change_of(situation: Situation, action: Action, reason: str) -> Change:
    """A change that writes nothing yet."""
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


def entry_of(situation: Situation, generated: TreeFile) -> LockEntry:
    """What the lock remembers of the generator's text; the entry it has already, when that says the same."""
    known = situation.entry
    keep_base = not is_binary(generated.content) and generated.path != "targcc.yaml"
    if (
        known is not None
        and known.owner is generated.owner
        and not known.ejected
        and known.sha256 == digest(generated.content)
        and (known.packed is not None or not keep_base)
    ):
        return known
    return LockEntry.of(
        generated.path, generated.owner, plain(generated.content), keep_base=keep_base
    )


def rebased(entry: LockEntry, base: bytes) -> LockEntry:
    """The entry with another text as the generator's."""
    return LockEntry.of(entry.path, entry.owner, base, keep_base=True)


def is_formatted(entry: LockEntry, text: bytes) -> bool:
    """Whether a person's file differs from the generator's text in its formatting alone."""
    if not entry.path.endswith(".py") or entry.base is None:
        return False
    return says_the_same(entry.base, text)
