"""A managed file at a place where the generator has none any more."""

from __future__ import annotations

from dataclasses import dataclass

from targcc_gen.sync.folder.disk import OnDisk
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merging.text import is_binary
from targcc_gen.sync.plan.outcome import is_formatted
from targcc_gen.sync.renames.carry import Moved


@dataclass(frozen=True)
class OldFile:
    """A managed file whose text is elsewhere now.

    Attributes:
        entry: What the lock remembers of it.
        disk: What is there.
        targets: Where its text is now.
    """

    entry: LockEntry
    disk: OnDisk
    targets: tuple[str, ...]

    @property
    def path(self) -> str:
        """Where it was."""
        return self.entry.path

    @property
    def is_gone(self) -> bool:
        """Whether a person deleted it."""
        return self.disk.raw is None and self.disk.blocked is None

    @property
    def is_edited(self) -> bool:
        """Whether a person changed what it says."""
        return self.is_other and not is_formatted(self.entry, self.disk.text or b"")

    @property
    def is_other(self) -> bool:
        """Whether a person changed it in any way."""
        return self.disk.text is not None and digest(self.disk.text) != self.entry.sha256

    @property
    def moved(self) -> Moved | None:
        """Its texts; None for one that cannot be merged line by line."""
        base, mine = self.entry.base, self.disk.text
        if base is None or mine is None or is_binary(mine):
            return None
        try:
            return Moved(self.path, base.decode(), mine.decode(), self.targets)
        except UnicodeDecodeError:
            return None
