"""Merge Python that a formatter has been at: formatting alone costs no collision, and stays as the person has it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from targcc_gen.sync.merging.formats import Formats
from targcc_gen.sync.merging.merge import Merged, Side, merge
from targcc_gen.sync.merging.normal import says_the_same


def merge_file(
    path: str,
    base: bytes,
    mine: bytes,
    generated: bytes,
    *,
    formats: Formats,
    side: Side | None = None,
) -> Merged:
    """Bring the generator's changes into a person's file; a Python module may be formatted in another way.

    Args:
        path: The file.
        base: What the generator wrote last time.
        mine: What is in the person's file now.
        generated: What the generator writes now.
        formats: How the project's Python may be written.
        side: How to settle collisions.
    """
    if not path.endswith(".py"):
        return merge(base, mine, generated, side)
    style = formats.of(path, mine, base)
    if style is not None:
        base = style.write(path, base) or base
        generated = style.write(path, generated) or generated
    if says_the_same(base, mine):
        return _formatted(base, mine, generated)
    merged = merge(base, mine, generated)
    if merged.collisions:
        return _plainly(path, base, mine, generated, formats) or merge(base, mine, generated, side)
    return merged


def _formatted(base: bytes, mine: bytes, generated: bytes) -> Merged:
    """A file that was only formatted: as the person has it where the generator has nothing new."""
    text = merge(base, mine, generated, Side.GENERATED).text
    return Merged(text if says_the_same(generated, text) else generated, (), 0)


def _plainly(
    path: str, base: bytes, mine: bytes, generated: bytes, formats: Formats
) -> Merged | None:
    """Merge in a form without the person's line breaks, which come back with each definition that is as it was."""
    plain = [formats.plain(path, text) for text in (base, mine, generated)]
    if plain[0] is None or plain[1] is None or plain[2] is None:
        return None
    merged = merge(plain[0], plain[1], plain[2])
    if merged.collisions:
        return None
    return replace(merged, text=as_written(merged.text, (mine, generated)))


@dataclass(frozen=True)
class _Part:
    """A definition at the top of a module or of a class, or what stands between two of them.

    Attributes:
        name: Its name with that of the class; empty for what has none.
        text: Its lines.
    """

    name: str
    text: bytes


def as_written(text: bytes, examples: Iterable[bytes]) -> bytes:
    """A module with each definition written as in the first of the examples that says the same there."""
    known: dict[str, list[bytes]] = {}
    for example in examples:
        for part in _parts(example):
            known.setdefault(part.name, []).append(part.text)
    written = b"".join(
        next((one for one in known.get(part.name, ()) if _same(one, part.text)), part.text)
        for part in _parts(text)
    )
    return written if says_the_same(text, written) else text


def _same(one: bytes, other: bytes) -> bool:
    import textwrap

    first, second = (textwrap.dedent(text.decode()).encode() for text in (one, other))
    return says_the_same(first, second)


def _parts(text: bytes) -> Iterator[_Part]:
    """The parts of a module, one after the other; together they are all of it."""
    lines = text.splitlines(keepends=True)
    try:
        marks = list(_marks(ast.parse(text).body, ""))
    except (SyntaxError, ValueError):
        marks = []
    end = 0
    for name, first, last in marks:
        yield _Part("", b"".join(lines[end:first]))
        yield _Part(name, b"".join(lines[first:last]))
        end = last
    yield _Part("", b"".join(lines[end:]))


def _marks(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, int, int]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _marks(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            yield f"{prefix}{node.name}", first - 1, node.end_lineno or node.lineno
