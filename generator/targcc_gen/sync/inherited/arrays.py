"""Edit the array of a TOML document as text, so that every comment and line break around the edit stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""'
    r"|'''.*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{},]"
    r"|\s+"
    r"|[^\s\[\]{},#\"']+",
    re.DOTALL,
)


@dataclass(frozen=True)
class Element:
    """One element of an array.

    Attributes:
        text: As it is written.
        start: Index of its first character in the array's text.
        end: Index after its last one.
        comma: Index after the comma behind it; None where there is none.
        comment: The comment behind it on its line.
    """

    text: str
    start: int
    end: int
    comma: int | None = None
    comment: str = ""


def elements(array: str) -> list[Element]:
    """The elements of an array, in order.

    Args:
        array: From its `[` to its `]`.
    """
    found: list[Element] = []
    start, depth, line_is_over = None, 0, False
    last = 0
    for word, begin, end in _tokens(array):
        if word.isspace():
            line_is_over = line_is_over or "\n" in word
        elif word.startswith("#"):
            if found and start is None and not line_is_over:
                found[-1] = _with(found[-1], comment=word)
        elif depth == 1 and word in {",", "]"}:
            if start is not None:
                found.append(Element(array[start:last], start, last))
                start, line_is_over = None, False
            if word == "," and found:
                found[-1] = _with(found[-1], comma=end)
                line_is_over = False
            depth -= word == "]"
        else:
            if depth and start is None:
                start = begin
            depth += (word in {"[", "{"}) - (word in {"]", "}"})
            last = end
    return found


def replaced(array: str, index: int, text: str) -> str:
    """The array with another text for one element."""
    one = elements(array)[index]
    return array[: one.start] + text + array[one.end :]


def removed(array: str, index: int) -> str:
    """The array without one element, and without the line that it has for itself."""
    found = elements(array)
    one = found[index]
    first, last = _line_start(array, one.start), _line_end(array, one.comma or one.end)
    alone = not array[first : one.start].strip() and not _code(array[one.comma or one.end : last])
    if alone and last < len(array):
        return array[:first] + array[last + 1 :]
    if index + 1 < len(found):
        return array[: one.start] + array[found[index + 1].start :]
    before = found[index - 1].end if index else one.start
    return array[:before] + array[one.end :]


def inserted(array: str, after: int, new: Element) -> str:
    """The array with one element more.

    Args:
        array: The array.
        after: Index of the element before it; -1 for the first place.
        new: Its text, and the comment that goes with it where it gets a line of its own.
    """
    found = elements(array)
    if not found:
        return (
            f"[{new.text}]" if not _code(array[1:-1]) and "\n" not in array else _only(array, new)
        )
    near = found[max(after, 0)]
    first = _line_start(array, near.start)
    if first == 0 or array[first : near.start].strip():
        return _inline(array, near, new, first=after < 0)
    indent = array[first : near.start]
    line = f"{indent}{new.text},{f'  {new.comment}' if new.comment else ''}\n"
    if after < 0:
        return array[:first] + line + array[first:]
    if near.comma is None:
        array = f"{array[: near.end]},{array[near.end :]}"
        near = _with(near, comma=near.end + 1)
    end = _line_end(array, near.comma or near.end)
    if end == len(array):  # the bracket closes on this line
        place = near.comma or near.end
        return f"{array[:place]}\n{line}{array[place:].lstrip()}"
    return f"{array[: end + 1]}{line}{array[end + 1 :]}"


def _inline(array: str, near: Element, new: Element, *, first: bool) -> str:
    if first:
        return f"{array[: near.start]}{new.text}, {array[near.start :]}"
    return f"{array[: near.end]}, {new.text}{array[near.end :]}"


def _only(array: str, new: Element) -> str:
    """The first element of an array that has lines, maybe with comments."""
    last = array.rfind("\n")
    return (
        f"{array[: last + 1]}  {new.text},\n{array[last + 1 :]}" if last >= 0 else f"[{new.text}]"
    )


def _tokens(array: str) -> Iterator[tuple[str, int, int]]:
    for match in _TOKEN.finditer(array):
        yield match.group(), match.start(), match.end()


def _with(one: Element, *, comma: int | None = None, comment: str = "") -> Element:
    return Element(one.text, one.start, one.end, comma or one.comma, comment or one.comment)


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """Index of the line break after `index`, or of the end."""
    end = text.find("\n", index)
    return len(text) if end < 0 else end


def _code(text: str) -> str:
    """What is no comment and no blank."""
    return "".join(line.partition("#")[0].strip() for line in text.split("\n"))
