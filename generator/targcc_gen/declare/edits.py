"""How a list of requirements is edited as text: each kind of file has these three."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from targcc_gen.declare.needed import Needed


@dataclass(frozen=True)
class Edits:
    """The edits of one list in one file.

    Args:
        has: Whether the list has a distribution.
        add: The text with some more, in their order; None where the list cannot be edited with certainty.
        remove: The text without some that it has.
    """

    has: Callable[[str, Needed], bool]
    add: Callable[[str, Sequence[Needed]], str | None]
    remove: Callable[[str, Sequence[Needed]], str]
