"""Merge Python that a formatter has changed: formatting alone causes no collision and is kept."""

from __future__ import annotations

import ast
import io
import subprocess
import tokenize
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

from targcc_gen.git import program
from targcc_gen.render.python_source import LINE_LENGTH
from targcc_gen.sync.import_style import ImportStyle, laid_out, read_style
from targcc_gen.sync.merge import Merged, Side, count_new_lines, merge

# Normalise a Python module: two texts that differ in formatting alone are equal.


def is_same_module(left: bytes, other: bytes) -> bool:
    """Return whether two modules differ in formatting alone: line breaks, commas, quotes, import order, whitespace in docstrings.

    Comments must be equal, but `other` may lack a `# noqa`: linters remove a `# noqa` without use.
    """
    first, second = _meaning(left), _meaning(other)
    if first is None or second is None or first[0] != second[0]:
        return False
    gone, new = first[1] - second[1], second[1] - first[1]
    return not new and all("noqa" in comment for comment in gone)


@lru_cache(maxsize=64)
def _meaning(source: bytes) -> tuple[str, Counter[str]] | None:
    try:
        tree = ast.parse(source)
        comments = _comments(source.decode())
    except (SyntaxError, ValueError, tokenize.TokenError):
        return None
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            _plain_docstring(body)
            body[:] = _sorted_imports(body)
    return ast.dump(tree), comments


def _comments(source: str) -> Counter[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return Counter(
        token.string.lstrip("# ").rstrip() for token in tokens if token.type == tokenize.COMMENT
    )


def _plain_docstring(body: list[ast.stmt]) -> None:
    match body:
        case [ast.Expr(value=ast.Constant(value=str() as text) as docstring), *_]:
            docstring.value = " ".join(text.split())


def _sorted_imports(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements with each group of imports split into single names and sorted."""
    result: list[ast.stmt] = []
    run: list[ast.Import | ast.ImportFrom] = []
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            run += _single(node)
            continue
        result += sorted(run, key=ast.dump)
        run = []
        result.append(node)
    return [*result, *sorted(run, key=ast.dump)]


def _single(node: ast.Import | ast.ImportFrom) -> list[ast.Import | ast.ImportFrom]:
    if isinstance(node, ast.Import):
        return [ast.Import([alias]) for alias in node.names]
    return [ast.ImportFrom(node.module, [alias], node.level) for alias in node.names]


# Formatters: detect how the user's Python is formatted, and write the generator's text the same way.

_BLACKS_LENGTH = 88
_RUFF_SECONDS = 30
_FEW_LINES = 8
_FEW_PARTS = 25

Write = Callable[[str, bytes], bytes | None]
"""A formatter: takes a path and a text, returns the formatted text, or None on failure."""


@dataclass(frozen=True)
class Format:
    """A format of Python source.

    Attributes:
        name: Name shown to users.
        write: The formatter.
    """

    name: str
    write: Write


class Formats:
    """The Python formats that one project may use.

    Args:
        root: The project's folder; its settings of black, ruff and isort apply.
        imports: The layout of imports in new files; None reads the settings.
    """

    def __init__(self, root: Path, imports: ImportStyle | None = None) -> None:
        self.root = root
        self._imports = imports
        self._last: Format | None = None
        self._known: dict[bytes, Format | None] = {}

    def created(self, path: str, content: bytes) -> bytes:
        """Return the text of a new file, with the imports as the project's isort or ruff lays them out."""
        if self._imports is None:
            self._imports = read_style(self.root)
        after = laid_out(path, content, self._imports)
        return after if after == content or is_same_module(content, after) else content

    def of(self, path: str, existing: bytes, base: bytes) -> Format | None:
        """Return the format of a user's file; None for the generator's format, or when no formatter matches.

        Args:
            path: Path of the file.
            existing: The user's text.
            base: The generator's last text of the file.
        """
        if existing not in self._known:
            self._known[existing] = self._detect(path, existing, base)
        return self._known[existing]

    def _detect(self, path: str, existing: bytes, base: bytes) -> Format | None:
        # Running the formatters is slow, and a hundred files may be formatted alike: try the last match first.
        if self._last is not None and is_same_module(base, existing):
            return self._last
        if _is_unformatted(base, existing):
            return None
        stable = [
            candidate
            for candidate in self._candidates(path, base)
            if candidate.write(path, existing) == existing
        ]
        # A text may be stable under several formatters, as a trailing comma keeps its line breaks: take the nearest to the user's text.
        bases = [candidate.write(path, base) or base for candidate in stable]
        distances = [count_new_lines(text, existing) for text in bases]
        if not stable:
            return None
        best = distances.index(min(distances))
        if bases[best] == base:
            return None
        self._last = stable[best]
        return self._last

    def as_in(self, path: str, existing: bytes, base: bytes, text: bytes) -> bytes:
        """Return `text`, a text of the generator, in the format of a user's file."""
        format_ = self.of(path, existing, base)
        return text if format_ is None else format_.write(path, text) or text

    def plain(self, path: str, text: bytes) -> bytes | None:
        """Return `text` in canonical line breaks: one form for all ways to format the same code."""
        return _black(path, text, line_length=LINE_LENGTH, magic_trailing_comma=False)

    def _candidates(self, path: str, base: bytes) -> Iterator[Format]:
        """Yield the formats; with ruff's fixes too where the fixes change the generator's text."""
        formats = [*self._blacks(), *self._ruff_formats()]
        fix = partial(self._run, "check", "--fix-only", "--quiet")
        if self._ruff is not None and fix(path, base) not in {None, base}:
            for candidate in formats:
                yield Format(
                    f"ruff check --fix, {candidate.name}", partial(_both, fix, candidate.write)
                )
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
        """Path of the ruff on PATH, such as in an active environment; None without ruff.

        Ruff is not looked for in the project's folder: the author of the repository may have put a program there.
        """
        return program("ruff")

    def _run(self, *arguments_path_and_text: Any) -> bytes | None:
        *arguments, path, text = arguments_path_and_text
        assert self._ruff is not None  # without ruff there are no ruff candidates
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


def _is_unformatted(base: bytes, existing: bytes) -> bool:
    """Return whether a file was edited but not reformatted: few lines are gone, and no long line."""
    lines = base.split(b"\n")
    gone = Counter(lines) - Counter(existing.split(b"\n"))
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


# Merge.


def merge_file(
    path: str,
    base: bytes,
    existing: bytes,
    generated: bytes,
    *,
    formats: Formats,
    side: Side | None = None,
) -> Merged:
    """Merge the generator's changes into a user's file; a Python module may have another format.

    Args:
        path: Path of the file.
        base: The generator's last text.
        existing: The user's text.
        generated: The generator's new text.
        formats: Formats of the project's Python.
        side: Choice for settling collisions.
    """
    if not path.endswith(".py"):
        return merge(base, existing, generated, side)
    style = formats.of(path, existing, base)
    if style is not None:
        base = style.write(path, base) or base
        generated = style.write(path, generated) or generated
    if is_same_module(base, existing):
        return _formatted(base, existing, generated)
    merged = merge(base, existing, generated)
    if merged.collisions:
        return _plainly(path, base, existing, generated, formats) or merge(
            base, existing, generated, side
        )
    return merged


def _formatted(base: bytes, existing: bytes, generated: bytes) -> Merged:
    """Merge into a file that was only reformatted: unchanged code keeps the user's format."""
    text = merge(base, existing, generated, Side.GENERATED).text
    return Merged(text if is_same_module(generated, text) else generated, (), 0)


def _plainly(
    path: str, base: bytes, existing: bytes, generated: bytes, formats: Formats
) -> Merged | None:
    """Merge in canonical line breaks, then restore the user's line breaks in each unchanged definition; None on a collision."""
    plain = [formats.plain(path, text) for text in (base, existing, generated)]
    if plain[0] is None or plain[1] is None or plain[2] is None:
        return None
    merged = merge(plain[0], plain[1], plain[2])
    if merged.collisions:
        return None
    return replace(merged, text=as_written(merged.text, (existing, generated)))


@dataclass(frozen=True)
class _Part:
    """A definition at the top of a module or class, or the text between two definitions.

    Attributes:
        name: Name of the definition, prefixed with its class; empty for text between definitions.
        text: The lines.
    """

    name: str
    text: bytes


def as_written(text: bytes, examples: Iterable[bytes]) -> bytes:
    """Format each definition of a module as in the first of the examples with the same definition."""
    known: dict[str, list[bytes]] = {}
    for example in examples:
        for part in _parts(example):
            known.setdefault(part.name, []).append(part.text)
    written = b"".join(
        next(
            (variant for variant in known.get(part.name, ()) if _same(variant, part.text)),
            part.text,
        )
        for part in _parts(text)
    )
    return written if is_same_module(text, written) else text


def _same(left: bytes, other: bytes) -> bool:
    import textwrap

    first, second = (textwrap.dedent(text.decode()).encode() for text in (left, other))
    return is_same_module(first, second)


def _parts(text: bytes) -> Iterator[_Part]:
    """Yield the parts of a module in order; joined, the parts are the whole module."""
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
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield f"{prefix}{node.name}", first - 1, node.end_lineno or node.lineno
