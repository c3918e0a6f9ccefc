"""Where the edits of a person have their place in the files of today."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from targcc_gen.sync.renames.hunks import CONTEXT, Hunk, Text, blanks, indent, stripped

_NEAR = 8
_TELLING = 6


@dataclass(frozen=True)
class Spot:
    """A place where a hunk fits.

    Attributes:
        path: The file.
        first: Index of the first line that it replaces.
        last: Index after the last one.
        shift: How much further the lines are indented there.
        score: How well the surroundings fit.
    """

    path: str
    first: int
    last: int
    shift: int
    score: float


class Target(Text):
    """A text in which edits are to be placed."""

    def beside(self, hunk: Hunk) -> Iterator[Spot]:
        """Where new functions and classes go: after the one they stood after, or before the one they stood before."""
        if hunk.above in self.definitions:
            place = self.definitions[hunk.above][1]
            place += blanks(self.lines[place:], hunk.gap)
            yield Spot(self.path, place, place, 0, 2.0)
        elif hunk.below in self.definitions:
            place = self.definitions[hunk.below][0]
            yield Spot(self.path, place, place, 0, 1.0)

    def spots(self, hunk: Hunk) -> Iterator[Spot]:
        """Where the hunk fits here."""
        wanted = stripped(hunk.removed)
        if not wanted:
            yield from self._between(hunk)
            return
        size, starts = len(wanted), self.starts(wanted)
        for start in starts:
            score = self._around(hunk, start, start + size)
            if score or (len(starts) == 1 and hunk.is_only and _tells(wanted)):
                yield self._spot(hunk, start, size, score)

    def _spot(self, hunk: Hunk, start: int, size: int, score: float) -> Spot:
        first, last = self.filled[start][0], self.filled[start + size - 1][0] + 1
        base = next(line for line in hunk.removed if line.strip())
        shift = indent(self.lines[first]) - indent(base)
        # Blank lines at its ends are the hunk's too.
        first -= blanks(reversed(self.lines[:first]), blanks(hunk.removed))
        last += blanks(self.lines[last:], blanks(reversed(hunk.removed)))
        return Spot(self.path, first, last, shift, score)

    def _around(self, hunk: Hunk, start: int, end: int) -> float:
        """How well the lines before `start` and from `end` on fit: a point for each, and three for the same scope."""
        scope = self.scopes[self.filled[start][0]] if start < len(self.filled) else ""
        same = 3.0 if scope and _plain(scope) == _plain(hunk.scope) else 0.0
        return self._above(hunk, start) * 1.01 + self._below(hunk, end) + same

    def _above(self, hunk: Hunk, start: int) -> int:
        return _common(
            hunk.before, list(reversed(self.stripped_lines[max(0, start - CONTEXT) : start]))
        )

    def _below(self, hunk: Hunk, end: int) -> int:
        return _common(hunk.after, self.stripped_lines[end : end + CONTEXT])

    def _between(self, hunk: Hunk) -> Iterator[Spot]:
        """Between which lines new ones go: both neighbours are there, or one that tells while the other is elsewhere."""
        for place in range(len(self.filled) + 1):
            above, below = self._above(hunk, place), self._below(hunk, place)
            if not self._fits(hunk, place, above, below):
                continue
            neighbour = self.lines[self.filled[place - 1][0]] if above else self._line(place)
            known = hunk.before[0] if above else hunk.after[0]
            shift = indent(neighbour) - indent(known)
            index = self._insertion(hunk, place, above)
            yield Spot(self.path, index, index, shift, self._around(hunk, place, place))

    def _line(self, place: int) -> str:
        return self.lines[self.filled[place][0]]

    def _fits(self, hunk: Hunk, place: int, above: int, below: int) -> bool:
        ends = (not hunk.before and place == 0) or (not hunk.after and place == len(self.filled))
        if above and below:
            return above > 1 or below > 1 or _tells([hunk.before[0], hunk.after[0]])
        if above > 1:
            near = self.stripped_lines[place : place + _NEAR]
            return ends or not hunk.after or hunk.after[0].strip() not in near
        if below > 1:
            near = self.stripped_lines[max(0, place - _NEAR) : place]
            return ends or not hunk.before or hunk.before[0].strip() not in near
        return False

    def _insertion(self, hunk: Hunk, place: int, above: int) -> int:
        """The line before which it goes: as many blank lines below its upper neighbour as the person left."""
        if not above:
            return self.filled[place][0]
        index = self.filled[place - 1][0] + 1
        return index + blanks(self.lines[index:], hunk.gap)


def find(hunk: Hunk, texts: Sequence[Target]) -> Spot | None:
    """The one place where a hunk fits best; None when it fits nowhere, or in several places alike."""
    spots = sorted(
        (spot for text in texts for spot in text.spots(hunk)), key=lambda spot: -spot.score
    )
    if not spots and hunk.is_definition:
        beside = [spot for text in texts for spot in text.beside(hunk)]
        spots = sorted(beside, key=lambda spot: -spot.score)
    if not spots or (len(spots) > 1 and spots[0].score == spots[1].score):
        return None
    return spots[0]


def shifted(lines: Sequence[str], shift: int) -> list[str]:
    """The lines, indented further by `shift`."""
    if shift >= 0:
        return [" " * shift + line if line.strip() else line for line in lines]
    return [line[min(-shift, indent(line)) :] for line in lines]


def _plain(scope: str) -> str:
    return scope.strip("_").lower()


def _tells(lines: Sequence[str]) -> bool:
    """Whether a line says enough to be recognised by itself."""
    return any(sum(character.isalnum() for character in line) >= _TELLING for line in lines)


def _common(wanted: Sequence[str], there: Sequence[str]) -> int:
    count = 0
    for one, other in zip(wanted, there, strict=False):
        if one.strip() != other:
            break
        count += 1
    return count
