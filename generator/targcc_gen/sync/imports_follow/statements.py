"""Import statements as text."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

_LENGTH = 100


@dataclass(frozen=True)
class Bound:
    """A name that a statement imports.

    Attributes:
        name: What it is called where it comes from.
        alias: What it is called here, where that differs.
    """

    name: str
    alias: str | None = None

    @classmethod
    def of(cls, alias: ast.alias, name: str) -> Bound:
        """The same name here, by another name there."""
        here = alias.asname or alias.name
        explicit = alias.asname == name  # `x as x` says that it is meant to be passed on
        return cls(name, here if here != name or explicit else None)

    @property
    def text(self) -> str:
        """As a statement has it."""
        return self.name if self.alias is None else f"{self.name} as {self.alias}"


def statement(module: str, names: Iterable[Bound], indent: str, *, long: bool = False) -> str:
    """`from module import …`, in the way that black and isort write it.

    Args:
        module: Where from, with its dots.
        names: What.
        indent: The blanks before it; they are no part of the text.
        long: Whether each name has a line of its own, however short they are.
    """
    listed = [one.text for one in sorted(dict.fromkeys(names), key=_order)]
    line = f"from {module} import {', '.join(listed)}"
    if not long and len(indent) + len(line) <= _LENGTH:
        return line
    lines = "".join(f"{indent}    {text},\n" for text in listed)
    return f"from {module} import (\n{lines}{indent})"


def _order(one: Bound) -> tuple[int, str]:
    """Constants, classes, the rest: isort's order."""
    name = one.name.lstrip("_")
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, one.name.lower()
