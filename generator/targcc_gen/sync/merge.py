"""Three-way merge of a file's text with `merge3`, keeping line ends and byte order mark."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# Line ends and byte order mark: stripped for merging, restored on writing.

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Style:
    """Line ends and byte order mark of a file on disk.

    Attributes:
        crlf: Whether most lines end in CR LF.
        bom: Whether the file starts with a UTF-8 byte order mark.
    """

    crlf: bool = False
    bom: bool = False

    @classmethod
    def of(cls, content: bytes) -> Style:
        """Detect the style of `content`."""
        if is_binary(content):
            return cls()
        crlf = content.count(b"\r\n")
        return cls(crlf=crlf * 2 > content.count(b"\n"), bom=content.startswith(_BOM))

    def restore(self, plain: bytes) -> bytes:
        """Return `plain` in this style."""
        text = plain.replace(b"\n", b"\r\n") if self.crlf else plain
        return _BOM + text if self.bom else text


def is_binary(content: bytes) -> bool:
    """Return whether `content` contains a NUL byte, as git checks."""
    return b"\0" in content


def plain(content: bytes) -> bytes:
    """Return text without byte order mark and with `\\n` line ends; binary content unchanged."""
    if is_binary(content):
        return content
    return content.removeprefix(_BOM).replace(b"\r\n", b"\n")


def lines_of(content: bytes) -> list[bytes]:
    """Split into lines with their ends. The last line gets an end too, so that no text can be appended to that line."""
    lines = content.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last + b"\n"] if last else [])


# Merge.

START = b"<<<<<<< mine"
MIDDLE = b"======="
END = b">>>>>>> generated"

_MARKER = re.compile(rb"^<<<<<<< (?:mine|yours)", re.MULTILINE)  # release 0.1 wrote `yours`


class Side(StrEnum):
    """A user's choice for settling a conflict."""

    GENERATED = "generated"
    """Take the generator's text where the two collide."""
    MINE = "mine"
    """Keep the user's text where the two collide."""
    MARKERS = "markers"
    """Write both between conflict markers, for the user to edit."""


@dataclass(frozen=True)
class Collision:
    """A place where the user and the generator changed the same lines.

    Attributes:
        first: Number of the first line in the user's file, from 1.
        last: Number of the last line; before `first` when the user removed the lines.
        mine: The user's text.
        generated: The generator's text.
    """

    first: int
    last: int
    mine: str
    generated: str


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Attributes:
        text: The merged text; with collisions and no side chosen, the user's text at these places.
        collisions: Places that no rule can settle. Empty when a side was chosen.
        kept: Number of the user's lines in `text` that the generator's text lacks.
    """

    text: bytes
    collisions: tuple[Collision, ...]
    kept: int


class _Matcher(difflib.SequenceMatcher[bytes]):
    """SequenceMatcher without the heuristic that ignores frequent lines in long files."""

    def __init__(
        self,
        isjunk: Callable[[bytes], bool] | None = None,
        a: Sequence[bytes] = (),
        b: Sequence[bytes] = (),
        autojunk: bool = False,  # noqa: FBT001, FBT002 - difflib's signature
    ) -> None:
        super().__init__(isjunk, a, b, autojunk)


def merge(base: bytes, existing: bytes, generated: bytes, side: Side | None = None) -> Merged:
    """Merge the generator's changes from `base` to `generated` into the user's text.

    Args:
        base: The generator's last text.
        existing: The user's text.
        generated: The generator's new text.
        side: Choice for settling collisions.
    """
    from merge3 import Merge3

    lines = {"unchanged": lines_of(base), "a": lines_of(existing), "b": lines_of(generated)}
    matcher: Any = _Matcher  # the protocol of merge3 asks for the attributes of its stub
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
    """Return the number of lines of `after` that are missing in `before`, as a diff counts them."""
    matcher = _Matcher(None, lines_of(before), lines_of(after))
    return sum(end - start for tag, _, _, start, end in matcher.get_opcodes() if tag != "equal")


def has_markers(content: bytes) -> bool:
    """Return whether conflict markers written by `Side.MARKERS` are still in the file."""
    return (
        START[:7] in content and _MARKER.search(content) is not None
    )  # the regular expression is slow


def whole_file(existing: bytes, generated: bytes) -> Collision:
    """Return the collision of two texts without a common base."""
    lines = lines_of(existing)
    return Collision(1, len(lines), _shown(lines), _shown(lines_of(generated)))


def with_markers(existing: list[bytes], generated: list[bytes]) -> list[bytes]:
    """Return both texts between conflict markers."""
    return [START + b"\n", *existing, MIDDLE + b"\n", *generated, END + b"\n"]


def _settled(existing: list[bytes], generated: list[bytes], side: Side | None) -> list[bytes]:
    if side is Side.GENERATED:
        return generated
    return with_markers(existing, generated) if side is Side.MARKERS else existing


def _shown(lines: list[bytes]) -> str:
    return b"".join(lines).decode("utf-8", "replace")
