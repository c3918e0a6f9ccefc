"""Lay out imports of new Python files as the project's isort or ruff does: one name a line, order of names, line breaks."""

from __future__ import annotations

import ast
import configparser
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from targcc_gen.render.package import SOURCE_TREE

# Settings.

BLACKS_LENGTH = 88
_GRID, _HANGING, _GROUPED = 0, 3, 5
_MODES = {"GRID": _GRID, "VERTICAL_HANGING_INDENT": _HANGING, "VERTICAL_GRID_GROUPED": _GROUPED}
_BLACK = {
    "multi-line-output": _HANGING,
    "include-trailing-comma": True,
    "line-length": BLACKS_LENGTH,
}
_PROFILES: dict[str, dict[str, Any]] = {
    "black": {**_BLACK, "split-on-trailing-comma": True},
    "django": {"multi-line-output": _GROUPED, "include-trailing-comma": True},
    "pycharm": {"multi-line-output": _HANGING, "force-grid-wrap": 2, "lines-after-imports": 2},
    "google": {
        "force-single-line": True,
        "force-sort-within-sections": True,
        "lexicographical": True,
        "group-by-package": True,
        "order-by-type": False,
        "single-line-exclusions": ["typing"],
        "line-length": 1000,
    },
    "open_stack": {
        "force-single-line": True,
        "force-sort-within-sections": True,
        "lexicographical": True,
    },
    "attrs": {**_BLACK, "line-length": 79, "lines-after-imports": 2, "lines-between-types": 1},
    "hug": {**_BLACK, "line-length": 100},
    "wemake": {**_BLACK, "line-length": 80},
    "appnexus": {**_BLACK, "force-sort-within-sections": True, "order-by-type": False},
}
"""The settings of isort's profiles that lay out imports; `plone` sorts all imports in one section and is not followed."""


@dataclass(frozen=True)
class ImportStyle:
    """How isort or ruff lays out imports. The defaults are the layout of new files: black's.

    Args:
        single_line: Whether each import has one name (`force-single-line`).
        exclusions: Modules whose imports may have several names all the same.
        mixed: Whether `import a` and `from a import b` are sorted together (`force-sort-within-sections`).
        by_type: Whether constants come before classes, and classes before other names (`order-by-type`).
        by_text: Whether imports are sorted by the text `module.name` (`lexicographical`).
        between: Blank lines between `import a` and `from a import b` (`lines-between-types`).
        length: The longest line.
        mode: isort's number of the layout of an import of several lines.
        comma: Whether the last name of such an import has a comma.
        keeps: Whether an import with such a comma stays on several lines.
        wrap: The number of names from which an import takes several lines; 0 for no number.
        lines_after: Blank lines below the imports; None for the formatter's choice.
    """

    single_line: bool = False
    exclusions: frozenset[str] = frozenset()
    mixed: bool = False
    by_type: bool = True
    by_text: bool = False
    between: int = 0
    length: int = BLACKS_LENGTH
    mode: int = _HANGING
    comma: bool = True
    keeps: bool = True
    wrap: int = 0
    lines_after: int | None = None


def read_style(root: Path) -> ImportStyle:
    """Read a project's layout of imports: isort's settings, else ruff's, else the defaults.

    Args:
        root: The project's folder.
    """
    tables = settings_of(root)
    values: dict[str, Any] = {}
    if tables.isort:
        values = {"multi-line-output": _GRID, "include-trailing-comma": False, "line-length": 79}
        values["split-on-trailing-comma"] = False
        own = {key: value for table in tables.isort for key, value in table.items()}
        values |= _PROFILES.get(str(own.get("profile", "")), {}) | own
    for table in tables.ruff:
        values |= table
    return ImportStyle(
        single_line=_flag(values, "force-single-line"),
        exclusions=frozenset(texts(values, "single-line-exclusions")),
        mixed=_flag(values, "force-sort-within-sections"),
        by_type=_flag(values, "order-by-type", default=True),
        by_text=_flag(values, "lexicographical") and not _flag(values, "group-by-package"),
        between=_number(values, "lines-between-types", 0),
        length=_number(values, "line-length", BLACKS_LENGTH),
        mode=_mode(values.get("multi-line-output", _HANGING)),
        comma=_flag(values, "include-trailing-comma", default=True),
        keeps=_flag(values, "split-on-trailing-comma", default=True),
        wrap=_number(values, "force-grid-wrap", 0),
        lines_after=lines if (lines := _number(values, "lines-after-imports", -1)) >= 0 else None,
    )


def _flag(values: dict[str, Any], name: str, *, default: bool = False) -> bool:
    return str(values.get(name, default)).strip().lower() in {"true", "1", "yes", "on"}


def _number(values: dict[str, Any], name: str, default: int) -> int:
    text = str(values.get(name, default)).strip()
    return int(text) if text.removeprefix("-").isdecimal() else default


def _mode(value: Any) -> int:
    """Return isort's number of a layout; a layout that is not known here is that of new files."""
    text = str(value).strip().upper()
    mode = int(text) if text.isdecimal() else _MODES.get(text, _HANGING)
    return mode if mode in _MODES.values() else _HANGING


@dataclass(frozen=True)
class Settings:
    """The tables with settings for imports; keys have hyphens.

    Args:
        folder: The folder of the settings.
        isort: isort's tables.
        ruff: ruff's tables, from its general table to the one for imports.
    """

    folder: Path
    isort: tuple[dict[str, Any], ...] = ()
    ruff: tuple[dict[str, Any], ...] = ()

    @property
    def tables(self) -> tuple[dict[str, Any], ...]:
        """All tables."""
        return (*self.isort, *self.ruff)


def settings_of(root: Path) -> Settings:
    """Return the settings of isort and ruff in a project's folder, else in the nearest folder above within the repository.

    Read are `[tool.isort]`, `.isort.cfg`, `setup.cfg`, `tox.ini`, `[tool.ruff]` and `ruff.toml`.
    """
    above = [root, *root.resolve().parents]
    repository = next(
        (number for number, folder in enumerate(above) if (folder / ".git").exists()), 0
    )
    every = map(_settings_in, above[: repository + 1])
    return next((settings for settings in every if settings.tables), Settings(root))


def _settings_in(folder: Path) -> Settings:
    tool = _table(_toml(folder / "pyproject.toml"), "tool")
    isort = [tool.get("isort"), *_of_ini(folder)]
    ruff: list[Any] = []
    files = (_toml(folder / name) for name in ("ruff.toml", ".ruff.toml"))
    for table in (*files, _table(tool, "ruff")):
        lint = _table(table, "lint")
        ruff += [table, lint, table.get("isort"), lint.get("isort")]
    return Settings(folder, tuple(_plain(isort)), tuple(_plain(ruff)))


def _of_ini(folder: Path) -> Iterator[dict[str, Any]]:
    for name, section in ((".isort.cfg", "settings"), ("setup.cfg", "isort"), ("tox.ini", "isort")):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(folder / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        if parser.has_section(section):
            yield dict(parser[section])


def _plain(tables: list[Any]) -> Iterator[dict[str, Any]]:
    for table in tables:
        if table and isinstance(table, dict):
            yield {str(key).replace("_", "-"): value for key, value in table.items()}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _table(data: dict[str, Any], name: str) -> dict[str, Any]:
    table = data.get(name)
    return table if isinstance(table, dict) else {}


def texts(settings: dict[str, Any], *names: str) -> list[str]:
    """Return the texts of a setting: a list, or a text with commas or lines."""
    result: list[str] = []
    for name in names:
        value = settings.get(name, ())
        parts = value.replace(",", "\n").split("\n") if isinstance(value, str) else value
        if isinstance(parts, list):
            result += [str(part).strip() for part in parts if str(part).strip()]
    return result


def line_length(root: Path) -> int:
    """Return the longest line of a project's formatter: black's setting, else ruff's, else black's default.

    Args:
        root: The project's folder.
    """
    black = _table(_table(_toml(root / "pyproject.toml"), "tool"), "black")
    tables = [*_plain([black]), *settings_of(root).ruff]
    lengths = (_number(table, "line-length", 0) for table in tables)
    return next((length for length in lengths if length), BLACKS_LENGTH)


# Layout.

_Import = ast.Import | ast.ImportFrom


def laid_out(path: str, content: bytes, style: ImportStyle) -> bytes:
    """Return a new file with its imports in a layout; another file than Python, and vendored source, unchanged.

    Args:
        path: The path of the file below the project's folder.
        content: The generator's text.
        style: The project's layout of imports.
    """
    if style == ImportStyle() or not path.endswith(".py") or path.startswith(f"{SOURCE_TREE}/"):
        return content
    try:
        text = content.decode()
        lines, module = text.splitlines(), ast.parse(text)
    except (SyntaxError, ValueError):  # a blueprint of a team may render anything
        return content
    for group in reversed([*_groups(module, lines)]):
        first, last = group[0].lineno - 1, group[-1].end_lineno or group[-1].lineno
        written = [*_group(group, style)]
        if style.lines_after is not None and group[-1] is _last_import(module):
            while last < len(lines) and not lines[last].strip():
                last += 1
            written += [""] * style.lines_after
        lines[first:last] = written
    return "".join(f"{line}\n" for line in lines).encode()


def _groups(module: ast.Module, lines: list[str]) -> Iterator[list[_Import]]:
    """Yield the imports between blank lines and other statements, of the module and below `if`, in the order of the file."""
    for block in (module.body, *(node.body for node in module.body if isinstance(node, ast.If))):
        group: list[_Import] = []
        for node in block:
            if group and (not isinstance(node, _Import) or not lines[node.lineno - 2].strip()):
                yield group
                group = []
            if isinstance(node, _Import):
                group.append(node)
        if group:
            yield group


def _last_import(module: ast.Module) -> ast.stmt | None:
    body = module.body
    last = max((i for i, node in enumerate(body) if isinstance(node, _Import)), default=-1)
    return body[last] if 0 <= last < len(body) - 1 else None


def _group(group: list[_Import], style: ImportStyle) -> Iterator[str]:
    """Yield the lines of a group of imports."""
    parts: list[_Import] = []
    for node in group:
        if (
            isinstance(node, ast.ImportFrom)
            and style.single_line
            and node.module not in style.exclusions
        ):
            parts += [
                ast.ImportFrom(node.module, [alias], node.level, lineno=0) for alias in node.names
            ]
        else:
            parts.append(node)
    indent = " " * group[0].col_offset
    narrow = replace(style, length=style.length - len(indent))
    above: _Import | None = None
    for node in sorted(parts, key=lambda node: _key(node, style)):
        if isinstance(above, ast.Import) and isinstance(node, ast.ImportFrom):
            yield from [""] * style.between
        keeps = style.keeps and (node.end_lineno or 0) > node.lineno
        for line in _statement(node, narrow, keeps=keeps):
            yield f"{indent}{line}"
        above = node


def _key(node: _Import, style: ImportStyle) -> tuple[Any, ...]:
    """Return the sort key of an import of one section, with the order of its names."""
    name = node.names[0].name
    if isinstance(node, ast.Import):
        return (False, 0, name if style.by_text else name.lower())
    module = node.module or ""
    if style.by_text:
        return (not style.mixed, -node.level, f"{module}.{name}")
    return (not style.mixed, -node.level, module.lower(), *name_key(name, by_type=style.by_type))


def name_key(name: str, *, by_type: bool) -> tuple[int, str]:
    """Return the sort key of an imported name."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind if by_type else 0, name.lower()


def _statement(node: _Import, style: ImportStyle, *, keeps: bool) -> list[str]:
    """Return the lines of an import."""
    if isinstance(node, ast.Import):
        return [ast.unparse(node)]
    aliases = sorted(node.names, key=lambda alias: name_key(alias.name, by_type=style.by_type))
    names = [ast.unparse(alias) for alias in aliases]
    head = f"from {'.' * node.level}{node.module or ''} import "
    line = head + ", ".join(names)
    is_wrapped = keeps or (style.wrap and len(names) >= style.wrap)
    if len(names) == 1 or (len(line) <= style.length and not is_wrapped):
        return [line]
    comma = "," if style.comma else ""
    if style.mode == _GRID:
        rows = _filled(names, style.length - len(head) - 1)
        rows[-1] += f"{comma})"
        return [f"{head}({rows[0]}", *(" " * (len(head) + 1) + row for row in rows[1:])]
    rows = names if style.mode == _HANGING else _filled(names, style.length - 4)
    rows = [row if row.endswith(",") else f"{row}," for row in rows[:-1]] + [rows[-1] + comma]
    return [f"{head}(", *(f"    {row}" for row in rows), ")"]


def _filled(names: list[str], width: int) -> list[str]:
    """Return rows of names with commas; each row but the last ends with a comma."""
    rows = [names[0]]
    for name in names[1:]:
        longer = f"{rows[-1]}, {name}"
        if len(longer) + 1 > width:
            rows[-1] += ","
            rows.append(name)
        else:
            rows[-1] = longer
    return rows
