"""Imports between the modules of a package, in functions too, without imports for type checkers."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

Edges = Mapping[str, set[str]]
"""Map each module to its imported modules; dotted names without the package's own."""


def module_files(package: Path) -> dict[str, Path]:
    """Map the dotted name of each module to its file; the package's own `__init__` is `__init__`."""
    result = {}
    for file in package.rglob("*.py"):
        parts = file.relative_to(package).with_suffix("").parts
        is_folder = parts[-1] == "__init__" and len(parts) > 1
        result[".".join(parts[:-1] if is_folder else parts)] = file
    return result


def edges_of(package: Path) -> dict[str, set[str]]:
    """Read all modules of a package."""
    files = module_files(package)
    result = {}
    for name, file in files.items():
        folder = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
        result[name] = {
            target
            for imported in imported_names(file)
            if (target := _target(imported, package.name, folder, files)) not in {None, name}
        }
    return result


def _target(
    imported: str, package: str, folder: list[str], files: Mapping[str, Path]
) -> str | None:
    """Return the module of the package that a dotted name stands for; None for a name of another package."""
    dots = len(imported) - len(imported.lstrip("."))
    parts = imported.lstrip(".").split(".")
    if dots:
        own = [part for part in folder if part != "__init__"]
        parts = own[: len(own) - dots + 1] + parts
    elif parts[0] == package:
        parts = parts[1:]
    else:
        return None
    while parts and ".".join(parts) not in files:
        parts = parts[:-1]
    return ".".join(parts) or "__init__"


@cache
def imported_names(file: Path) -> tuple[str, ...]:
    """Return the dotted names that a file imports: modules, and names that may be modules."""
    return tuple(imports_in(ast.parse(file.read_text(encoding="utf-8"))))


def imports_in(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a file, a function or a statement imports."""
    for node in (tree, *_walk(tree)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (f"{node.module}." if node.module else "")
            yield from (f"{base}{alias.name}" for alias in node.names)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            continue  # an expression holds no import
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from (part for statement in child.orelse for part in ast.walk(statement))
        else:
            yield child
            yield from _walk(child)


def upward(edges: Edges, layer_of: Mapping[str, int], *, beside: bool) -> set[str]:
    """Name the imports of a higher layer.

    Args:
        edges: The imports.
        layer_of: The layer of each folder and module at the top of the package, from low to high.
        beside: Whether a module may import another folder or module of its own layer.
    """
    result = set()
    for module, targets in edges.items():
        own = module.partition(".")[0]
        for target in targets:
            other = target.partition(".")[0]
            limit = layer_of[own] + beside
            if other != own and layer_of[other] >= limit:
                result.add(f"{module} imports {target}")
    return result


def cycles(edges: Edges) -> list[set[str]]:
    """Return the groups of modules that reach each other."""

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        left = list(edges[start])
        while left:
            node = left.pop()
            if node not in seen:
                seen.add(node)
                left += edges[node]
        return seen

    reach = {node: reachable(node) for node in edges}
    groups = {frozenset(other for other in reach[node] if node in reach[other]) for node in edges}
    return sorted((set(group) for group in groups if group), key=sorted)


def single_module_folders(package: Path) -> list[str]:
    """Return the folders that hold one module and no folder with modules."""
    result = []
    for folder in {file.parent for file in module_files(package).values()} - {package}:
        inside = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        if len(inside) == 1 and not any(list(path.glob("*.py")) for path in folder.iterdir()):
            result.append(folder.relative_to(package).as_posix())
    return result


def between_folders(edges: Edges) -> dict[str, set[str]]:
    """Return the imports between folders. A folder and the folders in it count as one."""
    result: dict[str, set[str]] = {}
    for module, targets in edges.items():
        own = _folder_of(module, edges)
        folders = {_folder_of(target, edges) for target in targets}
        result.setdefault(own, set()).update(
            folder for folder in folders if not _is_inside(own, folder)
        )
    return result


def _folder_of(module: str, edges: Edges) -> str:
    is_folder = any(other.startswith(f"{module}.") for other in edges)
    return module if is_folder else module.rpartition(".")[0]


def _is_inside(folder: str, other: str) -> bool:
    shorter, longer = sorted((folder, other), key=len)
    return longer == shorter or not shorter or longer.startswith(f"{shorter}.")
