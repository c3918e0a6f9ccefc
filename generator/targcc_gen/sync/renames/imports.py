"""Imports of a module: read them, rewrite them for another path, add missing imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from targcc_gen.render.package import SOURCE_TREE

# Imports, rewritten for another path.

_RELATIVE = re.compile(r"^(\s*)from (\.+)([\w.]*) import (\w+)(?: as (\w+))?(\s*(?:#.*)?)$")


@dataclass(frozen=True)
class Import:
    """A name that an import statement binds.

    Attributes:
        name: Name in this module.
        module: Source module; for `import a.b`, `a.b`.
        level: Number of leading dots.
        original: Name in the source module; None where the module itself is imported.
        line: The statement as written.
    """

    name: str
    module: str
    level: int
    original: str | None
    line: str

    @property
    def source(self) -> tuple[int, str, str | None]:
        """Level, module and original name."""
        return self.level, self.module, self.original

    @property
    def statement(self) -> str:
        """An import statement for this name alone."""
        if self.original is None:
            alias = "" if self.name == self.module.partition(".")[0] else f" as {self.name}"
            return f"import {self.module}{alias}\n"
        alias = "" if self.name == self.original else f" as {self.name}"
        return f"from {'.' * self.level}{self.module} import {self.original}{alias}\n"


class Module:
    """The names of a module.

    Args:
        source: Text of the module. Invalid Python has no names.
    """

    def __init__(self, source: str) -> None:
        self.lines = source.splitlines(keepends=True)
        self.is_valid = True
        try:
            self.tree = ast.parse(source)
        except (SyntaxError, ValueError):
            self.tree, self.is_valid = ast.Module([], []), False
        self.imports = {imported.name: imported for imported in self._imports()}
        self.defined = set(_bound(self.tree.body))

    @property
    def names(self) -> set[str]:
        """Every name bound at the top of the module."""
        return {*self.imports, *self.defined}

    @property
    def passed_on(self) -> set[str]:
        """Names in `__all__` that the module imports."""
        listed = (
            node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign) and "__all__" in _bound([node])
        )
        names = (getattr(part, "value", None) for value in listed for part in ast.walk(value))
        return {name for name in names if isinstance(name, str) and name in self.imports}

    @property
    def import_lines(self) -> set[int]:
        """Indices of the lines of import statements at the top of the module and below `if TYPE_CHECKING`."""
        return {
            index
            for node in self.tree.body
            if _only_imports(node)
            for index in range(node.lineno - 1, node.end_lineno or node.lineno)
        }

    def differs(self, other: Module) -> set[str]:
        """Return the names that both modules import from different places."""
        return {
            name
            for name, imported in self.imports.items()
            if name in other.imports and imported.source != other.imports[name].source
        }

    def local_names(self, line: int) -> set[str]:
        """Return the parameters and variables of the functions around a line."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.lineno <= line <= (node.end_lineno or node.lineno):
                inside = list(ast.walk(node))
                names |= {inner.arg for inner in inside if isinstance(inner, ast.arg)}
                stored = (inner for inner in inside if isinstance(inner, ast.Name))
                names |= {inner.id for inner in stored if isinstance(inner.ctx, ast.Store)}
        return names

    def with_imports(self, statements: Iterable[str]) -> str:
        """Return the module's text with import statements added, relative and absolute imports each in their group."""
        lines = list(self.lines)
        for statement in dict.fromkeys(statements):
            lines.insert(self._place(relative=statement.startswith("from .")), statement)
        return "".join(lines)

    def _place(self, *, relative: bool) -> int:
        place = self._start()
        for node in self.tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                level = node.level if isinstance(node, ast.ImportFrom) else 0
                if relative or not level:
                    place = max(place, node.end_lineno or node.lineno)
        return place

    def _start(self) -> int:
        """Return the index of the first line after leading comments and docstring."""
        if ast.get_docstring(self.tree, clean=False) is not None:
            return self.tree.body[0].end_lineno or 0
        return next((n for n, line in enumerate(self.lines) if not line.startswith("#")), 0)

    def _imports(self) -> Iterable[Import]:
        for node in ast.walk(ast.Module(_unguarded(self.tree.body), [])):
            if isinstance(node, ast.Import | ast.ImportFrom):
                line = "".join(self.lines[node.lineno - 1 : node.end_lineno])
                yield from _of_statement(node, line)


@dataclass(frozen=True)
class Homes:
    """New and old paths of modules.

    Attributes:
        texts: Text of each of today's modules, by path.
        targets: Maps an old path to its new paths; None for a file that did not move.
        source: Folder that contains the project's package; empty for the project's root.
    """

    texts: Mapping[str, str]
    targets: Callable[[str], tuple[str, ...] | None]
    source: str = "src"

    def relocated(self, imported: Import, old: str, new: str) -> Import | None:
        """Rewrite an import of the module at `old` for the module at `new`; return None when the imported name is gone."""
        if not imported.level or imported.original is None:
            return imported
        folder = old.split("/")[: -imported.level]
        place = "/".join([*folder, *filter(None, imported.module.split("."))])
        submodule = self._place(f"{place}/{imported.original}.py", None)
        if submodule is not None:
            return self._pointing(
                replace(imported, original=_stem(submodule)), _folder(submodule), new
            )
        for path in (f"{place}.py", f"{place}/__init__.py"):
            if path in self.texts or self.targets(path) is not None:
                new_place = self._place(path, imported.original)
                if new_place is None and self.targets(path) is not None:
                    return None
                return self._pointing(imported, _module(new_place or path), new)
        return self._pointing(imported, place.split("/"), new)  # a user's module: not moved

    def import_of(self, name: str, path: str, new: str) -> Import:
        """Return the import, for the module at `new`, of a name that the module at `path` defines."""
        return self._pointing(Import(name, "", 1, name, ""), _module(path), new)

    def _pointing(self, imported: Import, module: list[str], new: str) -> Import:
        """Return the import from `module` for the module at `new`: relative inside a distribution, absolute between distributions."""
        tree = SOURCE_TREE.split("/")
        inside = module[: len(tree)] == tree
        if inside == new.startswith(f"{SOURCE_TREE}/"):
            return _relative(imported, module, new)
        source = tree if inside else self.source.split("/") if self.source else []
        return replace(imported, module=".".join(module[len(source) :]), level=0, line="")

    def defining_module(self, name: str, old: str) -> str | None:
        """Return the path of the module that now defines a name of the module at `old`."""
        return self._place(old, name)

    def _place(self, path: str, name: str | None) -> str | None:
        """Return the new path of a module; with a name, the path of the part that defines the name."""
        places = self.targets(path)
        if places is None:
            places = (path,) if path in self.texts else ()
        if name is None:
            return places[0] if len(places) == 1 else None
        for place in places:
            module = Module(self.texts.get(place, ""))
            if name in module.defined or (name in module.imports and len(places) == 1):
                return place
        return None

    def fixed(self, line: str, old: str, new: str) -> str | None:
        """Rewrite a line of the module at `old` for the module at `new`: a relative import is relocated. Return None when that fails."""
        match = _RELATIVE.match(line.rstrip("\n"))
        if match is None:
            return line
        blanks, dots, module, original, alias, rest = match.groups()
        imported = Import(alias or original, module, len(dots), original, line)
        relocated = self.relocated(imported, old, new)
        return None if relocated is None else f"{blanks}{relocated.statement.rstrip()}{rest}\n"


def _only_imports(node: ast.stmt) -> bool:
    """Return whether a statement imports and does nothing else."""
    if isinstance(node, ast.If):
        return not node.orelse and all(map(_only_imports, node.body)) and _is_for_types(node.test)
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_for_types(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _unguarded(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the top statements that may import: imports, `if` and `try`."""
    return [
        statement
        for statement in body
        if isinstance(statement, ast.Import | ast.ImportFrom | ast.If | ast.Try)
    ]


def _of_statement(node: ast.Import | ast.ImportFrom, line: str) -> Iterable[Import]:
    for alias in node.names:
        if isinstance(node, ast.Import):
            name = alias.asname or alias.name.partition(".")[0]
            yield Import(name, alias.name, 0, None, line)
        elif node.module != "__future__":
            yield Import(
                alias.asname or alias.name, node.module or "", node.level, alias.name, line
            )


def _bound(body: Iterable[ast.stmt]) -> Iterable[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    yield inner.id
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield from _bound(
                inner for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt)
            )


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".py")


def _folder(path: str) -> list[str]:
    return path.split("/")[:-1]


def _module(path: str) -> list[str]:
    """Return the parts of a module's dotted name; a package's name is its folder's."""
    parts = path.removesuffix(".py").split("/")
    return parts[:-1] if parts[-1] == "__init__" else parts


def _relative(imported: Import, module: list[str], new: str) -> Import:
    """Return the import from `module` as a relative import of the module at `new`."""
    here = _folder(new)
    common = 0
    for own, other in zip(here, module, strict=False):
        if own != other:
            break
        common += 1
    level = 1 + len(here) - common
    rest = ".".join(module[common:])
    return replace(imported, module=rest, level=level, line="")


# Names that a merged module uses and lacks.


def with_needed_imports(merged: bytes, existing: bytes) -> bytes | None:
    """Add the imports that the user's lines need and the generator has dropped.

    Returns:
        The text, or None where the user's lines use a name that the module no longer defines.
    """
    try:
        text, before = merged.decode(), Module(existing.decode())
        missing = (_used_names(text) - _bound_names(text)) & before.names
    except (SyntaxError, ValueError):
        return None
    if not missing:
        return merged
    if missing - set(before.imports):
        return None
    needed = [before.imports[name].statement for name in sorted(missing)]
    return Module(text).with_imports(needed).encode()


def _used_names(text: str) -> set[str]:
    return {
        node.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _bound_names(text: str) -> set[str]:
    """Return every name bound anywhere in the module, in any scope."""
    names = set(Module(text).names)
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name):
                names.add(name)
            case ast.alias(name=name, asname=alias):
                names.add(alias or name.partition(".")[0])
            case _:
                pass
    return names
