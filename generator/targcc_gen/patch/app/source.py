"""A Python file as bytes that stay what they are: edits replace whole lines, in the file's own encoding and line ends."""

from __future__ import annotations

import ast
import codecs
import io
import re
import tokenize
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from targcc_gen.errors import InputError


class SourceError(InputError):
    """Something about a source file; the message begins with its place."""

    code = "source"

    prefix = ""


class RefusalError(SourceError):
    """No line can put the scheduler into an app with certainty; the hint has the lines that a person can add."""


@dataclass(frozen=True)
class Replacement:
    """Put `lines` (without line ends) in place of the lines `first` to `last` (from 1, both included).

    `last = first - 1` inserts before `first` and removes nothing.
    """

    first: int
    last: int
    lines: tuple[str, ...]


def insertion(before: int, *lines: str) -> Replacement:
    """Put `lines` before line `before`; one past the end appends."""
    return Replacement(before, before - 1, lines)


@dataclass(frozen=True)
class Source:
    """A Python source file.

    Args:
        name: How messages call the file.
        data: Its bytes, as they are on disk.
    """

    name: str
    data: bytes

    @cached_property
    def encoding(self) -> str:
        """The codec that the byte order mark or the coding comment declares; `utf-8` when there is neither.

        Raises:
            SourceError: Python does not know the declared encoding, or mark and comment disagree.
        """
        try:
            return tokenize.detect_encoding(io.BytesIO(self.data).readline)[0]
        except SyntaxError as error:
            raise SourceError(f"{self.name}:1: error: {error.msg}") from error

    @cached_property
    def text(self) -> str:
        """The decoded text, line ends as they are.

        Raises:
            SourceError: The bytes do not fit the declared encoding.
        """
        try:
            return self.data.decode(self.encoding)
        except UnicodeDecodeError as error:
            line = self.data.count(b"\n", 0, error.start) + 1
            raise SourceError(
                f"{self.name}:{line}: error: not valid {self.encoding} (byte 0x{self.data[error.start]:02x})",
                hint="Save the file as UTF-8, or declare its encoding in the first line: # -*- coding: NAME -*-",
            ) from error

    @cached_property
    def byte_lines(self) -> tuple[bytes, ...]:
        """The lines with their ends, without a byte order mark; CR, LF and CR LF end a line, as for Python."""
        return tuple(self.data.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True))

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The decoded lines with their ends, one for each of `byte_lines`.

        Raises:
            SourceError: The encoding has line ends that are not bytes of their own.
        """
        lines = tuple(re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", self.text))
        if len(lines) != len(self.byte_lines):
            raise SourceError(f"{self.name}: error: cannot edit {self.encoding} line by line")
        return lines

    @cached_property
    def module(self) -> ast.Module:
        """The file's syntax tree.

        Raises:
            SourceError: The file is not valid Python; with the place and the line.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)  # of the file's own odd literals
                return ast.parse(self.text)
        except SyntaxError as error:
            raise self.error(error.lineno or 1, error.offset or 1, error.msg) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise SourceError(f"{self.name}: error: {error or type(error).__name__}") from error

    def error(self, line: int, column: int, message: str) -> SourceError:
        """An error with its place and a frame that shows the line; line and column count from 1."""
        shown = self.lines[line - 1].rstrip() if line <= len(self.lines) else ""
        frame = f"\n  {line:>4} | {shown}\n       | {' ' * (column - 1)}^" if shown else ""
        return SourceError(f"{self.name}:{line}:{column}: error: {message}{frame}")

    def indent_of(self, line: int) -> str:
        """The blanks before the first word of a line, without form feeds."""
        text = self.lines[line - 1]
        return text[: len(text) - len(text.lstrip(" \t\f"))].replace("\f", "")

    def edited(self, replacements: Iterable[Replacement]) -> bytes:
        """The bytes after the replacements; all other lines stay byte for byte.

        A new line ends like the line before it. A file whose last line has no end keeps that: appending to it
        ends the old last line, and removing the appended line takes that end away again.
        """
        lines = list(self.byte_lines)
        for change in sorted(replacements, key=lambda change: change.first, reverse=True):
            _replace(lines, change, encoding=self.encoding, default_end=self._line_end)
        mark = codecs.BOM_UTF8 if self.data.startswith(codecs.BOM_UTF8) else b""
        return mark + b"".join(lines)

    @property
    def _line_end(self) -> bytes:
        return next((_end(line) for line in self.byte_lines if _end(line)), b"\n")


def _replace(lines: list[bytes], change: Replacement, *, encoding: str, default_end: bytes) -> None:
    start, stop = change.first - 1, change.last
    before = lines[start - 1] if start else b""
    end = _end(before) or default_end
    codec = "utf-8" if encoding == "utf-8-sig" else encoding
    new = [line.encode(codec) + end for line in change.lines]
    unended = bool(lines) and stop == len(lines) and not _end(lines[-1])
    lines[start:stop] = new
    if start and new and not _end(lines[start - 1]):
        lines[start - 1] += end
    if unended and lines:
        lines[-1] = lines[-1].removesuffix(_end(lines[-1]))


def _end(line: bytes) -> bytes:
    return line[len(line.rstrip(b"\r\n")) :]
