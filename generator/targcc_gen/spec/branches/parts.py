"""A spec's text as its parts: which lines each key of a mapping has, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from targcc_gen.spec.reading.nodes import Node
from targcc_gen.spec.writing.splice import first_line, last_line


@dataclass(frozen=True)
class Part:
    """A key and its value.

    Attributes:
        lines: The lines of the whole file.
        name: The key.
        value: The value.
    """

    lines: list[str]
    name: Node
    value: Node

    @cached_property
    def first(self) -> int:
        """The number of its first line, with the comments directly above it."""
        return first_line(self.lines, self.name)

    @cached_property
    def last(self) -> int:
        """The number of its last line."""
        return last_line(self.lines, self.name, self.value)

    @cached_property
    def text(self) -> list[str]:
        """Its lines."""
        return self.lines[self.first : self.last + 1]

    @cached_property
    def data(self) -> Any:
        """What it says."""
        return self.value.data()

    @property
    def is_block(self) -> bool:
        """Whether its value is a mapping with a line, or several, for each key."""
        value = self.value
        is_mapping = value.kind == "mapping" and bool(value.entries) and not value.style
        return is_mapping and not value.alias and value.start.line > self.name.start.line

    def inside(self, key_of: Callable[[str], str]) -> Block:
        """What is in it."""
        parts = {key_of(key): Part(self.lines, *entry) for key, entry in self.value.entries.items()}
        return Block(self.lines, parts, self.lines[list(parts.values())[-1].last + 1 : self.end])

    @property
    def end(self) -> int:
        """The number of the line after it."""
        return self.last + 1

    @property
    def head(self) -> list[str]:
        """Its lines above the first key in it; the line of its key where there is none."""
        if not self.is_block:
            return self.lines[self.first : self.name.start.line + 1]
        first = Part(self.lines, *next(iter(self.value.entries.values())))
        return self.lines[self.first : first.first]

    def at_column(self, column: int) -> list[str]:
        """Its lines, indented so that the key stands at a column."""
        shift = column - self.name.start.column
        if shift >= 0:
            return [" " * shift + line if line.strip() else line for line in self.text]
        return [line[-shift:] if not line[:-shift].strip(" ") else line for line in self.text]


class Whole(Part):
    """A whole file, whose value is the mapping at its root."""

    @property
    def end(self) -> int:
        """The number of its lines."""
        return len(self.lines)

    @property
    def head(self) -> list[str]:
        """The lines above the first key."""
        return self.lines[: Part(self.lines, *next(iter(self.value.entries.values()))).first]


@dataclass(frozen=True)
class Block:
    """The keys of a mapping, in order.

    Attributes:
        lines: The lines of the whole file.
        parts: By key.
        tail: The lines below the last key that belong to the mapping.
    """

    lines: list[str]
    parts: dict[str, Part]
    tail: list[str]

    def gap_above(self, key: str) -> list[str]:
        """The lines between a key and the one before it: blank ones, and comments that belong to neither."""
        keys = list(self.parts)
        index = keys.index(key)
        if index == 0:
            return []
        return self.lines[self.parts[keys[index - 1]].last + 1 : self.parts[key].first]

    @property
    def column(self) -> int:
        """Where its keys stand."""
        return next(iter(self.parts.values())).name.start.column
