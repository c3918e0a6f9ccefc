"""A module's text, and where its statements are in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

Node = ast.stmt | ast.expr


class Source:
    """A module.

    Args:
        text: Its text, with `\\n` line ends.

    Raises:
        SyntaxError, ValueError: It is no Python.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self.lines: list[str] = re.findall(r"[^\n]*\n|[^\n]+", text)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def span(self, node: Node) -> tuple[int, int]:
        """The index of the node's first character, and that after its last one."""
        last = (node.end_lineno or node.lineno) - 1
        return (
            self.starts[node.lineno - 1] + self._column(node.lineno - 1, node.col_offset),
            self.starts[last] + self._column(last, node.end_col_offset or 0),
        )

    def segment(self, node: Node) -> str:
        """The node's text."""
        start, end = self.span(node)
        return self.text[start:end]

    def whole_lines(self, node: Node) -> tuple[int, int]:
        """The span of the lines that the node is on."""
        return self.starts[node.lineno - 1], self.starts[node.end_lineno or node.lineno]

    def indent(self, node: Node) -> str:
        """The blanks that the node's line starts with."""
        line = self.lines[node.lineno - 1]
        return line[: len(line) - len(line.lstrip())]

    def is_alone(self, node: Node) -> bool:
        """Whether a statement may go: nothing is said about it, and nothing else is on its lines."""
        (start, end), (first, last) = self.span(node), self.whole_lines(node)
        above = self.lines[node.lineno - 2].strip() if node.lineno > 1 else ""
        around = self.text[first:start] + self.text[end:last]
        return not (around.strip() or above.startswith("#") or "#" in self.segment(node))

    def bodies(self) -> Iterator[list[ast.stmt]]:
        """The blocks of statements."""
        for node in ast.walk(self.tree):
            for name in ("body", "orelse", "finalbody"):
                body = getattr(node, name, None)
                if isinstance(body, list):
                    yield body

    def attributes(self, name: str) -> set[str] | None:
        """The attributes that the module uses of a name; None where it does something else with it."""
        inner = {
            id(node.value): node.attr
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        uses = [
            node for node in ast.walk(self.tree) if isinstance(node, ast.Name) and node.id == name
        ]
        if any(id(node) not in inner or not isinstance(node.ctx, ast.Load) for node in uses):
            return None
        return {inner[id(node)] for node in uses}

    def _column(self, line: int, offset: int) -> int:
        """How many characters the first bytes of a line are; `ast` counts bytes."""
        return len(self.lines[line].encode()[:offset].decode(errors="ignore"))


def run_of_imports(body: list[ast.stmt], node: ast.stmt) -> ast.stmt:
    """The last of the import statements that follow one without a gap."""
    last = node
    for one in body[body.index(node) :]:
        if not isinstance(one, ast.Import | ast.ImportFrom):
            break
        last = one
    return last
