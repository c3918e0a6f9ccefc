"""Place an import where isort and ruff's rule I001 put it: section, order inside the section, blank lines."""

from __future__ import annotations

import ast
import configparser
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targcc_gen.patch.app_file import AppFile, Replacement, insertion
from targcc_gen.patch.layout import pyproject

_FUTURE, _STANDARD, _THIRD, _FIRST, _LOCAL = range(5)
_NOQA = "noqa: E402"
_SECOND = 2  # a comment in the first line belongs to the file


@dataclass(frozen=True)
class ImportOrder:
    """The project's settings for the order of imports, from ruff or isort.

    Args:
        roots: Folders whose packages and modules are first-party.
        first_party: Further names that are first-party.
        mixed: Whether `import a` and `from a import b` are sorted together.
        created: Names of first-party packages that the patch makes.
    """

    roots: tuple[Path, ...] = ()
    first_party: frozenset[str] = frozenset()
    mixed: bool = False
    created: frozenset[str] = frozenset()

    def section(self, node: ast.Import | ast.ImportFrom) -> int:
        """Return the section of an import; a smaller number comes first."""
        if isinstance(node, ast.ImportFrom) and node.level:
            return _LOCAL
        module = node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
        top = module.partition(".")[0]
        if top == "__future__":
            return _FUTURE
        if top in self.first_party or top in self.created:
            return _FIRST
        if top in sys.stdlib_module_names:
            return _STANDARD
        is_here = any(
            (root / top).is_dir() or (root / f"{top}.py").is_file() for root in self.roots
        )
        return _FIRST if is_here else _THIRD

    def key(self, node: ast.Import | ast.ImportFrom) -> tuple[bool, int, str]:
        """Return the sort key of an import inside its section."""
        if isinstance(node, ast.ImportFrom):
            return not self.mixed, -node.level, (node.module or "").lower()
        return False, 0, node.names[0].name.lower()


def read_order(root: Path, source: Path, package: str) -> ImportOrder:
    """Read a project's order of imports from `[tool.ruff]`, `ruff.toml`, `[tool.isort]`, `.isort.cfg` or `setup.cfg`.

    Args:
        root: The project's folder.
        source: The folder that has the scheduler's package.
        package: The scheduler's outermost package, which may not exist yet.
    """
    folders, names, mixed = ["."], set[str](), False
    root = _home(root)
    for settings in _settings(root):
        folders += _texts(settings, "src", "src-paths")
        names.update(_texts(settings, "known-first-party"))
        mixed = mixed or str(settings.get("force-sort-within-sections")).lower() == "true"
    roots = tuple({(root / folder).resolve(): None for folder in (*folders, "src")})
    is_own = (
        source / package / "__init__.py"
    ).is_file()  # to ruff, the package of a file is first-party in the file
    created = {package} if is_own or source.resolve() in roots or package in names else set()
    return ImportOrder(roots, frozenset(names), mixed, frozenset(created))


def _home(root: Path) -> Path:
    """Return the folder whose settings ruff and isort use: the project's, or the nearest above it within the repository."""
    above = [root, *root.resolve().parents]
    repository = next(
        (number for number, folder in enumerate(above) if (folder / ".git").exists()), 0
    )
    inside = above[: repository + 1]
    return next((folder for folder in inside if any(_settings(folder))), root)


def _settings(root: Path) -> Iterator[dict[str, Any]]:
    """Yield the tables with settings for the order of imports; keys have hyphens."""
    tool: Any = pyproject(root).get("tool", {})
    files = [_toml(root / name) for name in ("ruff.toml", ".ruff.toml")]
    tables = [tool.get("isort", {}), *files, tool.get("ruff", {})]
    for table in [*tables]:
        lint = table.get("lint", {}) if isinstance(table, dict) else {}
        tables += [lint.get("isort", {}), table.get("isort", {})]
    for name, section in ((".isort.cfg", "settings"), ("setup.cfg", "isort"), ("tox.ini", "isort")):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(root / name, encoding="utf-8")
            tables.append(dict(parser[section]) if parser.has_section(section) else {})
        except (configparser.Error, UnicodeDecodeError):
            continue
    for table in tables:
        if isinstance(table, dict):
            yield {str(key).replace("_", "-"): value for key, value in table.items()}


def _toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _texts(settings: dict[str, Any], *names: str) -> list[str]:
    """Return the texts of a list, or of a text with commas or lines."""
    result: list[str] = []
    for name in names:
        value = settings.get(name, ())
        parts = value.replace(",", "\n").split("\n") if isinstance(value, str) else value
        if isinstance(parts, list):
            result += [str(part).strip() for part in parts if str(part).strip()]
    return result


def place_import(file: AppFile, before: int, line: str, order: ImportOrder) -> Replacement | None:
    """Insert an import into the last group of imports above a line; `None` when no import is above the line.

    Args:
        file: The file.
        before: The line of a statement at module level.
        line: The import.
        order: The project's order of imports.
    """
    group = _last_group(file, before)
    if not group:
        return None
    made = ast.parse(line).body[0]
    assert isinstance(made, ast.Import | ast.ImportFrom)
    section, key = order.section(made), order.key(made)
    line += _noqa(file, group)
    same = [node for node in group if order.section(node) == section]
    smaller = [node for node in same if order.key(node) <= key]
    if smaller:
        return insertion(_below(file, smaller[-1]), line)
    if same:
        place = _above(file, same[0])
        commented = place < file.line_of(same[0])
        return insertion(place, line, *([""] if commented else []))
    sooner = [node for node in group if order.section(node) < section]
    if not sooner:
        return insertion(_above(file, group[0]), line)
    place = _below(file, sooner[-1])
    return insertion(place, "", line) if _is_blank(file, place) else insertion(place, line)


def is_alone(file: AppFile, first: int, last: int) -> bool:
    """Whether blank lines surround the lines: an import in a block of its own."""
    return first > 1 and _is_blank(file, first - 1) and _is_blank(file, last + 1)


def _is_blank(file: AppFile, line: int) -> bool:
    lines = file.source.lines
    return line <= len(lines) and not lines[line - 1].strip()


def _last_group(file: AppFile, before: int) -> list[ast.Import | ast.ImportFrom]:
    """Return the last imports above a line that no other statement separates."""
    groups: list[list[ast.Import | ast.ImportFrom]] = [[]]
    for statement in file.module.body:
        if file.last_line_of(statement) >= before:
            break
        if isinstance(statement, ast.Import | ast.ImportFrom):
            groups[-1].append(statement)
        elif groups[-1]:
            groups.append([])
    return next((group for group in reversed(groups) if group), [])


def _below(file: AppFile, node: ast.stmt) -> int:
    return file.last_line_of(file.line_mates(node)[-1]) + 1


def _above(file: AppFile, node: ast.stmt) -> int:
    """Return the line of an import, or of the comment above."""
    line = file.line_of(node)
    while line > _SECOND and file.source.lines[line - 2].startswith("#"):
        line -= 1
    return line


def _noqa(file: AppFile, group: list[ast.Import | ast.ImportFrom]) -> str:
    """Return `# noqa: E402` when the imports around have that comment, else nothing."""
    noted = any(_NOQA in file.source.lines[file.last_line_of(node) - 1] for node in group)
    return f"  # {_NOQA}" if noted else ""
