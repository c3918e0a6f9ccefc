"""Three-way merge of a file's text, on `merge3`, keeping line ends and byte order mark."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# Text as editors leave it: line ends and byte order mark come back when a file is written.

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Style:
    """How a file on disk writes its text.

    Attributes:
        crlf: Whether most lines end in CR LF.
        bom: Whether it starts with a UTF-8 byte order mark.
    """

    crlf: bool = False
    bom: bool = False

    @classmethod
    def of(cls, content: bytes) -> Style:
        """The style of what is on disk."""
        if is_binary(content):
            return cls()
        crlf = content.count(b"\r\n")
        return cls(crlf=crlf * 2 > content.count(b"\n"), bom=content.startswith(_BOM))

    def restore(self, plain: bytes) -> bytes:
        """`plain` written in this style."""
        text = plain.replace(b"\n", b"\r\n") if self.crlf else plain
        return _BOM + text if self.bom else text


def is_binary(content: bytes) -> bool:
    """Whether `content` is no text; git looks for a NUL too."""
    return b"\0" in content


def plain(content: bytes) -> bytes:
    """Text without byte order mark and with `\\n` line ends; binary content as it is."""
    if is_binary(content):
        return content
    return content.removeprefix(_BOM).replace(b"\r\n", b"\n")


def lines_of(content: bytes) -> list[bytes]:
    """The lines with their ends; the last one ends too, so that nothing can be glued to it."""
    lines = content.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last + b"\n"] if last else [])


# Merge.

START = b"<<<<<<< mine"
MIDDLE = b"======="
END = b">>>>>>> generated"

_MARKER = re.compile(rb"^<<<<<<< (?:mine|yours)", re.MULTILINE)  # release 0.1 wrote the second


class Side(StrEnum):
    """How a person wants a conflict settled."""

    GENERATED = "generated"
    """Take the generator's text where the two collide."""
    MINE = "mine"
    """Keep the text in the person's file where the two collide."""
    MARKERS = "markers"
    """Write both between conflict markers, to be edited."""


@dataclass(frozen=True)
class Collision:
    """One place where the person and the generator changed the same lines.

    Attributes:
        first: Its first line in the person's file, from 1.
        last: Its last line there; before `first` when the person removed the lines.
        mine: The person's text.
        generated: The generator's.
    """

    first: int
    last: int
    mine: str
    generated: str


@dataclass(frozen=True)
class Merged:
    """A merge's outcome.

    Attributes:
        text: The merged text; with collisions and no side chosen, the person's text.
        collisions: What no rule can settle. Empty when a side was chosen.
        kept: How many lines of the person's are in `text` and not in the generator's.
    """

    text: bytes
    collisions: tuple[Collision, ...]
    kept: int


class _Matcher(difflib.SequenceMatcher[bytes]):
    """Without the heuristic that ignores lines which are frequent in long files."""

    def __init__(
        self,
        isjunk: Callable[[bytes], bool] | None = None,
        a: Sequence[bytes] = (),
        b: Sequence[bytes] = (),
        autojunk: bool = False,  # noqa: FBT001, FBT002 - difflib's signature
    ) -> None:
        super().__init__(isjunk, a, b, autojunk)


def merge(base: bytes, existing: bytes, generated: bytes, side: Side | None = None) -> Merged:
    """Bring the generator's changes from `base` to `generated` into the person's text.

    Args:
        base: What the generator wrote last time.
        existing: What is in the person's file now.
        generated: What the generator writes now.
        side: How to settle collisions.
    """
    from merge3 import Merge3

    lines = {"unchanged": lines_of(base), "a": lines_of(existing), "b": lines_of(generated)}
    matcher: Any = _Matcher  # merge3's protocol wants the attributes of its own stub
    merger = Merge3(lines["unchanged"], lines["a"], lines["b"], sequence_matcher=matcher)
    merged: list[bytes] = []
    collisions: list[Collision] = []
    for region in merger.reprocess_merge_regions(merger.merge_regions()):
        if region[0] == "conflict":
            _, _, _, first, last, start, end = region
            my_lines, new_lines = lines["a"][first:last], lines["b"][start:end]
            collisions.append(Collision(first + 1, last, _shown(my_lines), _shown(new_lines)))
            merged += _settled(my_lines, new_lines, side)
        else:
            source = "a" if region[0] == "same" else region[0]
            merged += lines[source][region[1] : region[2]]
    text = b"".join(merged)
    left = () if side in {Side.MINE, Side.GENERATED} else tuple(collisions)
    return Merged(text, left, count_new_lines(generated, text))


def count_new_lines(before: bytes, after: bytes) -> int:
    """How many lines of `after` are not in `before`, as a diff counts them."""
    matcher = _Matcher(None, lines_of(before), lines_of(after))
    return sum(end - start for tag, _, _, start, end in matcher.get_opcodes() if tag != "equal")


def has_markers(content: bytes) -> bool:
    """Whether somebody has still to edit what `Side.MARKERS` wrote."""
    return START[:7] in content and _MARKER.search(content) is not None  # the second is slow


def whole_file(existing: bytes, generated: bytes) -> Collision:
    """The collision of two texts that have no common base."""
    lines = lines_of(existing)
    return Collision(1, len(lines), _shown(lines), _shown(lines_of(generated)))


def with_markers(existing: list[bytes], generated: list[bytes]) -> list[bytes]:
    """Both texts between conflict markers."""
    return [START + b"\n", *existing, MIDDLE + b"\n", *generated, END + b"\n"]


def _settled(existing: list[bytes], generated: list[bytes], side: Side | None) -> list[bytes]:
    if side is Side.GENERATED:
        return generated
    return with_markers(existing, generated) if side is Side.MARKERS else existing


def _shown(lines: list[bytes]) -> str:
    return b"".join(lines).decode("utf-8", "replace")
