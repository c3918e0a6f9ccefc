"""Imports of a module: what it imports, how another place imports the same, names it lacks."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from targcc_gen.render.package import SOURCE_TREE

# Imports, seen from another place.

_RELATIVE = re.compile(r"^(\s*)from (\.+)([\w.]*) import (\w+)(?: as (\w+))?(\s*(?:#.*)?)$")


@dataclass(frozen=True)
class Import:
    """One name that an import statement binds.

    Attributes:
        name: The name in this module.
        module: The module it comes from; of `import a.b`, `a.b`.
        level: How many dots stand before it.
        original: What it is called there; None where the module itself is imported.
        line: The statement as it is written.
    """

    name: str
    module: str
    level: int
    original: str | None
    line: str

    @property
    def source(self) -> tuple[int, str, str | None]:
        """Where the name comes from."""
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
    """A module's names.

    Args:
        source: Its text. One that is no Python has no names.
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
        """Every name that is bound at the top of the module."""
        return {*self.imports, *self.defined}

    @property
    def passed_on(self) -> set[str]:
        """The names of its `__all__` that it has from other modules."""
        listed = (
            node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign) and "__all__" in _bound([node])
        )
        names = (getattr(part, "value", None) for value in listed for part in ast.walk(value))
        return {name for name in names if isinstance(name, str) and name in self.imports}

    @property
    def import_lines(self) -> set[int]:
        """Indices of the lines of import statements at the top of the module, also below `if TYPE_CHECKING`."""
        return {
            index
            for node in self.tree.body
            if _only_imports(node)
            for index in range(node.lineno - 1, node.end_lineno or node.lineno)
        }

    def differs(self, other: Module) -> set[str]:
        """The names that both import, from different places."""
        return {
            name
            for name, imported in self.imports.items()
            if name in other.imports and imported.source != other.imports[name].source
        }

    def local_names(self, line: int) -> set[str]:
        """The names that the functions around a line bind: parameters, variables."""
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
        """The module's text with more import statements after those of their kind."""
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
        """After comments and docstring."""
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
    """Where modules are now, and where they were.

    Attributes:
        texts: The text of each module there is now, by path.
        targets: Where the text of an old path went; None for one that did not move.
        source: The folder that the project's package is in; empty for the project's own.
    """

    texts: Mapping[str, str]
    targets: Callable[[str], tuple[str, ...] | None]
    source: str = "src"

    def relocated(self, imported: Import, old: str, new: str) -> Import | None:
        """The import of a module at `old` as a module at `new` has to write it; None when what it imports is gone."""
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
        return self._pointing(
            imported, place.split("/"), new
        )  # a module of the person's: it is where it was

    def import_of(self, name: str, path: str, new: str) -> Import:
        """The import of a name that the module at `path` defines, for the module at `new`."""
        return self._pointing(Import(name, "", 1, name, ""), _module(path), new)

    def _pointing(self, imported: Import, module: list[str], new: str) -> Import:
        """The import from `module`, as the module at `new` writes it: relative, but absolute from one distribution to the other."""
        tree = SOURCE_TREE.split("/")
        inside = module[: len(tree)] == tree
        if inside == new.startswith(f"{SOURCE_TREE}/"):
            return _relative(imported, module, new)
        source = tree if inside else self.source.split("/") if self.source else []
        return replace(imported, module=".".join(module[len(source) :]), level=0, line="")

    def defining_module(self, name: str, old: str) -> str | None:
        """The module that now defines what the module at `old` defined."""
        return self._place(old, name)

    def _place(self, path: str, name: str | None) -> str | None:
        """Where a module is, or the one of its parts that defines a name."""
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
        """A line of the module at `old` for the one at `new`: an import inside a function follows; None when it cannot."""
        match = _RELATIVE.match(line.rstrip("\n"))
        if match is None:
            return line
        blanks, dots, module, original, alias, rest = match.groups()
        imported = Import(alias or original, module, len(dots), original, line)
        relocated = self.relocated(imported, old, new)
        return None if relocated is None else f"{blanks}{relocated.statement.rstrip()}{rest}\n"


def _only_imports(node: ast.stmt) -> bool:
    """Whether a statement imports and does nothing else."""
    if isinstance(node, ast.If):
        return not node.orelse and all(map(_only_imports, node.body)) and _is_for_types(node.test)
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_for_types(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _unguarded(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that import at the top of a module, also below `if TYPE_CHECKING` and `try`."""
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
    """The parts of a module's name; a package's are those of its folder."""
    parts = path.removesuffix(".py").split("/")
    return parts[:-1] if parts[-1] == "__init__" else parts


def _relative(imported: Import, module: list[str], new: str) -> Import:
    """The import from `module`, as the module at `new` writes it with dots."""
    here = _folder(new)
    common = 0
    for own, other in zip(here, module, strict=False):
        if own != other:
            break
        common += 1
    level = 1 + len(here) - common
    rest = ".".join(module[common:])
    return replace(imported, module=rest, level=level, line="")


# Names that a merged module uses, and whether it still has them.


def with_needed_imports(merged: bytes, existing: bytes) -> bytes | None:
    """The merged module, with the imports that the person's lines need and the generator's have no more use for.

    Returns:
        The text, or None where the person's lines use what the generator does not define there any more.
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
    """Every name that is bound anywhere in the module; enough to see what is bound nowhere."""
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
