"""How people's formatters write Python, so that a generated text can be written as the file it goes into."""

from __future__ import annotations

import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from targcc_gen.git import program
from targcc_gen.render.job.formatting import LINE_LENGTH
from targcc_gen.sync.merging.merge import count_new_lines
from targcc_gen.sync.merging.normal import says_the_same

_BLACKS_LENGTH = 88
_RUFF_SECONDS = 30
_FEW_LINES = 8
_FEW_PARTS = 25

Write = Callable[[str, bytes], bytes | None]
"""A formatter: of a path and a text, the text as it writes it; None when it cannot."""


@dataclass(frozen=True)
class Format:
    """One way to write Python.

    Attributes:
        name: What people call it.
        write: The formatter.
    """

    name: str
    write: Write


class Formats:
    """The ways in which the Python of one project may be written.

    Args:
        root: The project's folder: its own settings of black and ruff count.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._last: Format | None = None
        self._known: dict[bytes, Format | None] = {}

    def of(self, path: str, mine: bytes, base: bytes) -> Format | None:
        """The format of a person's file; None when it is the generator's, or no formatter's.

        Args:
            path: Its path.
            mine: Its text.
            base: The generator's text of it.
        """
        if mine not in self._known:
            self._known[mine] = self._found(path, mine, base)
        return self._known[mine]

    def _found(self, path: str, mine: bytes, base: bytes) -> Format | None:
        # Asking the formatters takes a while, and there may be a hundred files that were formatted alike.
        if self._last is not None and says_the_same(base, mine):
            return self._last
        if _is_unformatted(base, mine):
            return None
        stable = [one for one in self._candidates(path, base) if one.write(path, mine) == mine]
        # What one formatter leaves alone another may, too: a comma at the end of a list keeps its line breaks.
        bases = [one.write(path, base) or base for one in stable]
        distances = [count_new_lines(text, mine) for text in bases]
        if not stable:
            return None
        best = distances.index(min(distances))
        if bases[best] == base:
            return None
        self._last = stable[best]
        return self._last

    def as_in(self, path: str, mine: bytes, base: bytes, text: bytes) -> bytes:
        """A text of the generator in the format of a person's file."""
        one = self.of(path, mine, base)
        return text if one is None else one.write(path, text) or text

    def plain(self, path: str, text: bytes) -> bytes | None:
        """A text without what people decide about its lines: one form for all ways to write the same."""
        return _black(path, text, line_length=LINE_LENGTH, magic_trailing_comma=False)

    def _candidates(self, path: str, base: bytes) -> Iterator[Format]:
        """The formats; with ruff's fixes too where these change the generator's text."""
        formats = [*self._blacks(), *self._ruff_formats()]
        fix = partial(self._run, "check", "--fix-only", "--quiet")
        if self._ruff is not None and fix(path, base) not in {None, base}:
            for one in formats:
                yield Format(f"ruff check --fix, {one.name}", partial(_both, fix, one.write))
            yield Format("ruff check --fix", fix)
        yield from formats

    def _blacks(self) -> list[Format]:
        own = _table(self._tools, "black")
        options: dict[str, Any] = {
            "magic_trailing_comma": not own.get("skip-magic-trailing-comma", False),
            "string_normalization": not own.get("skip-string-normalization", False),
        }
        lengths = [own.get("line-length"), _table(self._tools, "ruff").get("line-length")]
        lengths += [LINE_LENGTH, _BLACKS_LENGTH]
        wanted = dict.fromkeys(length for length in lengths if isinstance(length, int))
        return [
            Format(f"black -l {length}", partial(_black, line_length=length, **options))
            for length in wanted
        ]

    def _ruff_formats(self) -> list[Format]:
        return [] if self._ruff is None else [Format("ruff format", partial(self._run, "format"))]

    @cached_property
    def _tools(self) -> dict[str, Any]:
        try:
            data = tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return _table(data, "tool")

    @cached_property
    def _ruff(self) -> str | None:
        """The ruff on PATH, as in an active environment; a project need not have one.

        A program in the project's folder is not looked for: whoever made the repository may have put it there.
        """
        return program("ruff")

    def _run(self, *arguments_path_and_text: Any) -> bytes | None:
        *arguments, path, text = arguments_path_and_text
        assert self._ruff is not None  # else it is no candidate
        command = [self._ruff, *arguments, "--no-cache", "--stdin-filename", path, "-"]
        try:
            done = subprocess.run(
                command,
                input=text,
                capture_output=True,
                cwd=self.root,
                timeout=_RUFF_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.replace(b"\r\n", b"\n") if done.stdout else None


def _is_unformatted(base: bytes, mine: bytes) -> bool:
    """Whether a file looks as if its edits were all that happened to it: few lines are gone, and no long one."""
    lines = base.split(b"\n")
    gone = Counter(lines) - Counter(mine.split(b"\n"))
    most = max(_FEW_LINES, len(lines) // _FEW_PARTS)
    return gone.total() <= most and all(len(line) <= _BLACKS_LENGTH for line in gone)


def _table(data: dict[str, Any], name: str) -> dict[str, Any]:
    table = data.get(name)
    return table if isinstance(table, dict) else {}


def _both(first: Write, second: Write, path: str, text: bytes) -> bytes | None:
    between = first(path, text)
    return None if between is None else second(path, between)


def _black(_path: str, text: bytes, /, **options: Any) -> bytes | None:
    import black
    from black.mode import TargetVersion
    from black.parsing import InvalidInput

    mode = black.Mode(target_versions={TargetVersion.PY311}, **options)
    try:
        return black.format_str(text.decode(), mode=mode).encode()
    except (ValueError, InvalidInput):
        return None
