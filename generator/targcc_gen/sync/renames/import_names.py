"""Find the module that defines a scheduler's name today, from the name's module in an earlier release."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from targcc_gen.render.package import PACKAGE
from targcc_gen.sync.renames.imports import Module

TABLE = Path(__file__).with_name("names.toml")
_VALUES = "project"


@dataclass(frozen=True)
class Place:
    """The place of a name.

    Attributes:
        module: Module below the scheduler, such as `storage.tables`.
        name: Name in that module.
        is_public: Whether the scheduler's package exports the name.
    """

    module: str
    name: str
    is_public: bool


@dataclass(frozen=True)
class Value:
    """A former name of the scheduler that held a value of the project.

    Attributes:
        literal: The value as Python source.
    """

    literal: str


@dataclass(frozen=True)
class Gone:
    """A name without a successor.

    Attributes:
        advice: Replacement to write; may be empty.
    """

    advice: str = ""


@dataclass(frozen=True)
class Names:
    """The scheduler's names in an earlier release and in this release. Paths are relative to the scheduler's folder.

    Attributes:
        old: Modules of the earlier release in the project, by path.
        new: Modules of this release after the run, by path.
        targets: Maps an old path to its new paths; None for a file that did not move.
    """

    old: Mapping[str, str]
    new: Mapping[str, str]
    targets: Callable[[str], tuple[str, ...] | None]
    _modules: dict[str, Module] = field(default_factory=dict)

    def old_path(self, module: str) -> str | None:
        """Return the path of a module of the earlier release; None when the module did not exist."""
        path = module.replace(".", "/")
        return next(
            (
                candidate
                for candidate in (f"{path}.py", f"{path}/__init__.py")
                if candidate in self.old
            ),
            None,
        )

    def find(self, module: str, name: str) -> Place | Value | Gone:
        """Return the place of a name from a module of the earlier release."""
        return self._find(module, name, frozenset())

    def defined_in(self, module: str) -> set[str]:
        """Return the names that a module of the earlier release defined."""
        path = self.old_path(module)
        return set() if path is None else self._old(path).defined

    def places(self, module: str) -> list[str]:
        """Return the modules that contain the text of a module of the earlier release."""
        path = self.old_path(module)
        places = None if path is None else self.targets(path)
        return (
            [_module(place) for place in (path,) if place]
            if places is None
            else list(map(_module, places))
        )

    def whole(self, module: str) -> str | None:
        """Return the only module that has every public name of a module of the earlier release, or None."""
        places, path = self.places(module), self.old_path(module)
        if path is None or len(places) != 1:
            return None
        new = self._new(f"{places[0].replace('.', '/')}.py") or self._new(
            f"{places[0].replace('.', '/')}/__init__.py"
        )
        public = {name for name in self._old(path).defined if not name.startswith("_")}
        return places[0] if new is not None and public <= new.names else None

    @cached_property
    def public(self) -> Mapping[str, str]:
        """Names that the scheduler's package exports, each with its module."""
        init = Module(self.new["__init__.py"])
        return {
            imported.name: imported.module.removeprefix(f"{PACKAGE}.")
            for imported in init.imports.values()
            if imported.level == 1 or imported.module.startswith(f"{PACKAGE}.")
        }

    def _find(self, module: str, name: str, seen: frozenset[str]) -> Place | Value | Gone:
        path, key = self.old_path(module), f"{module}:{name}"
        if path is None or key in seen:
            return Gone()
        if module == _VALUES:
            return _value(self._old(path), name)
        table = _table()
        if key in table["gone"]:
            return Gone(table["gone"][key])
        if key in table["public"]:
            return self._public(table["public"][key])
        new = table["renamed"].get(key, name)
        places = self.targets(path)
        for place in (path,) if places is None else places:
            if self._defines(place, new) or new in self._passed_on_by(place):
                return self._place(place, new)
        return self._passed_on(path, name, seen | {key}) or self._anywhere(new)

    def _passed_on(self, path: str, name: str, seen: frozenset[str]) -> Place | Value | Gone | None:
        """Return the place of a name that the old module imported from another module."""
        imported = self._old(path).imports.get(name)
        if imported is None or not imported.level or imported.original is None:
            return None
        folder = path.split("/")[: -imported.level]
        return self._find(
            ".".join([*folder, *filter(None, [imported.module])]), imported.original, seen
        )

    def _anywhere(self, name: str) -> Place | Gone:
        """Return the place of a name that a single module defines."""
        places = [path for path in self.new if self._defines(path, name)]
        return self._place(places[0], name) if len(places) == 1 else Gone()

    def _place(self, path: str, name: str) -> Place:
        module = _module(path)
        return Place(module, name, self.public.get(name) == module)

    def _public(self, name: str) -> Place:
        return Place(self.public[name], name, is_public=True)

    def _defines(self, path: str, name: str) -> bool:
        module = self._new(path)
        return module is not None and name in module.defined

    def _passed_on_by(self, path: str) -> set[str]:
        module = self._new(path)
        return set() if module is None else module.passed_on

    def _new(self, path: str) -> Module | None:
        if path not in self.new or not path.endswith(".py"):
            return None
        if path not in self._modules:
            self._modules[path] = Module(self.new[path])
        return self._modules[path]

    def _old(self, path: str) -> Module:
        return Module(self.old[path])


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _value(module: Module, name: str) -> Value | Gone:
    """Return the value of a name bound to a literal."""
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if value is None or not any(
            isinstance(target, ast.Name) and target.id == name for target in targets
        ):
            continue
        try:
            ast.literal_eval(value)
        except ValueError:
            return Gone()
        return Value(ast.get_source_segment("".join(module.lines), value) or "")
    return Gone()


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))
