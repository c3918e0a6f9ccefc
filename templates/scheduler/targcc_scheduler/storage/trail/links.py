"""What makes the rows of the audit a chain.

A row is written with the digest of its content in ``Hash``. Sealing gives it the next place in the chain, ``Seq``, and the hash of that
place, of its predecessor's hash and of its digest. A row without ``Hash`` was not written by this release.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Self

PRUNED = "prune audit"
"""The action of a row that says which the last row is that was removed for its age."""
_CONTENT = ("Actor", "Action", "JobName", "RunId", "Detail", "RemoteAddress")


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain.

    Args:
        seq: Which: the first row has 1.
        hash: The hash of the row there.
    """

    seq: int
    hash: str

    def __str__(self) -> str:
        """As people note it."""
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """What :meth:`__str__` makes.

        Raises:
            ValueError: the text is something else.
        """
        seq, _, found = text.strip().partition(":")
        if not seq.isdecimal() or len(found) != len(START.hash):
            raise ValueError(f"not a place in the audit's chain, such as 12:{START.hash[:6]}…")
        return cls(int(seq), found)

    def next(self, content: str) -> Link:
        """The place after this one, for a row with this digest."""
        seq = self.seq + 1
        return Link(seq, _sha256(f"{seq}\n{self.hash}\n{content}"))


START = Link(0, hashlib.sha256(b"").hexdigest())
"""Before the first row."""


def digest(row: Mapping[str, Any]) -> str:
    """The digest of a row's content: who did what, when, from where."""
    at = row["At"].astimezone(UTC).isoformat(timespec="microseconds")
    return _sha256(json.dumps([at, *(row.get(name) for name in _CONTENT)]))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
