"""Place an import where isort and ruff's rule I001 put it: section, order inside the section, blank lines."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from targcc_gen.patch.app_file import AppFile, Replacement, insertion
from targcc_gen.sync.import_style import ImportStyle, read_style, settings_of, texts

_FUTURE, _STANDARD, _THIRD, _FIRST, _LOCAL = range(5)
_KNOWN = {
    "known-standard-library": _STANDARD,
    "known-third-party": _THIRD,
    "known-first-party": _FIRST,
    "known-local-folder": _LOCAL,
}
_NOQA = "noqa: E402"
_SECOND = 2  # a comment in the first line belongs to the file


@dataclass(frozen=True)
class ImportOrder:
    """The project's settings for the order of imports, from ruff or isort.

    Args:
        roots: Folders whose packages and modules are first-party.
        known: Names with the section that the settings give.
        style: The layout of imports, with the order in a section.
        closest: Whether `from .a import b` comes before `from ..a import b`.
        created: Names of first-party packages that the patch makes.
    """

    roots: tuple[Path, ...] = ()
    known: Mapping[str, int] = field(default_factory=dict)
    style: ImportStyle = field(default_factory=ImportStyle)
    closest: bool = False
    created: frozenset[str] = frozenset()

    def section(self, node: ast.Import | ast.ImportFrom) -> int:
        """Return the section of an import; a smaller number comes first."""
        if isinstance(node, ast.ImportFrom) and node.level:
            return _LOCAL
        module = node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
        top = module.partition(".")[0]
        if top == "__future__":
            return _FUTURE
        if (known := self.known.get(module, self.known.get(top))) is not None:
            return known
        if top in self.created:
            return _FIRST
        if top in sys.stdlib_module_names:
            return _STANDARD
        is_here = any(
            (root / top).is_dir() or (root / f"{top}.py").is_file() for root in self.roots
        )
        return _FIRST if is_here else _THIRD

    def key(self, node: ast.Import | ast.ImportFrom) -> tuple[bool, int, str]:
        """Return the sort key of an import inside its section."""
        name = node.names[0].name
        if isinstance(node, ast.ImportFrom):
            level = node.level if self.closest else -node.level
            module = node.module or ""
            text = f"{module}.{name}" if self.style.by_text else module.lower()
            return not self.style.mixed, level, text
        return False, 0, name if self.style.by_text else name.lower()


def read_order(root: Path, source: Path, package: str) -> ImportOrder:
    """Read a project's order of imports from the settings of isort and ruff.

    Args:
        root: The project's folder.
        source: The folder that has the scheduler's package.
        package: The scheduler's outermost package, which may not exist yet.
    """
    settings, style = settings_of(root), read_style(root)
    folders, names = ["."], dict[str, int]()
    for table in settings.tables:
        folders += texts(table, "src", "src-paths")
        for setting, section in _KNOWN.items():
            names.update(dict.fromkeys(texts(table, setting), section))
    closest = any(
        str(table.get("reverse-relative")).lower() == "true"
        or table.get("relative-imports-order") == "closest-to-furthest"
        for table in settings.tables
    )
    roots = tuple({(settings.folder / folder).resolve(): None for folder in (*folders, "src")})
    is_own = (
        source / package / "__init__.py"
    ).is_file()  # to ruff, the package of a file is first-party in the file
    created = {package} if is_own or source.resolve() in roots else set()
    return ImportOrder(roots, names, style, closest, frozenset(created))


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
        is_first = isinstance(smaller[-1], ast.Import) and isinstance(made, ast.ImportFrom)
        blank = [""] * order.style.between if is_first else []
        return insertion(_below(file, smaller[-1]), *blank, line)
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
