"""Find the module that has a scheduler's name now, if an earlier release had it elsewhere."""

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
    """Where a name is.

    Attributes:
        module: The module below the scheduler: `storage.tables`.
        name: What it is called there.
        is_public: Whether the scheduler itself offers it.
    """

    module: str
    name: str
    is_public: bool


@dataclass(frozen=True)
class Value:
    """What is no more a name of the scheduler, but a value that the project had in it.

    Attributes:
        literal: The value in Python.
    """

    literal: str


@dataclass(frozen=True)
class Gone:
    """A name that has no successor.

    Attributes:
        advice: What to write instead; may be empty.
    """

    advice: str = ""


@dataclass(frozen=True)
class Names:
    """The names of the scheduler, of an earlier release and of this one. Paths are those below its folder.

    Attributes:
        old: The modules of the earlier release, as the project has them, by path.
        new: Those of this one, as the project is going to have them.
        targets: Where the text of an old path went; None for one that did not move.
    """

    old: Mapping[str, str]
    new: Mapping[str, str]
    targets: Callable[[str], tuple[str, ...] | None]
    _modules: dict[str, Module] = field(default_factory=dict)

    def old_path(self, module: str) -> str | None:
        """The path of a module of the earlier release; None when there was none of this name."""
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
        """Where a name of a module of the earlier release is."""
        return self._find(module, name, frozenset())

    def defined_in(self, module: str) -> set[str]:
        """What a module of the earlier release defined."""
        path = self.old_path(module)
        return set() if path is None else self._old(path).defined

    def places(self, module: str) -> list[str]:
        """The modules that have the text of one of the earlier release."""
        path = self.old_path(module)
        places = None if path is None else self.targets(path)
        return (
            [_module(place) for place in (path,) if place]
            if places is None
            else list(map(_module, places))
        )

    def whole(self, module: str) -> str | None:
        """The one module that has all that one of the earlier release defined; None where there is none."""
        places, path = self.places(module), self.old_path(module)
        if path is None or len(places) != 1:
            return None
        new = self._new(f"{places[0].replace('.', '/')}.py") or self._new(
            f"{places[0].replace('.', '/')}/__init__.py"
        )
        return places[0] if new is not None and self._old(path).defined <= new.names else None

    @cached_property
    def public(self) -> Mapping[str, str]:
        """The names that the scheduler offers, and the module each is from."""
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
        """Where a name is that the old module itself had from another one."""
        imported = self._old(path).imports.get(name)
        if imported is None or not imported.level or imported.original is None:
            return None
        folder = path.split("/")[: -imported.level]
        return self._find(
            ".".join([*folder, *filter(None, [imported.module])]), imported.original, seen
        )

    def _anywhere(self, name: str) -> Place | Gone:
        """The only module that defines a name."""
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
    """The value of a name that is bound to a literal."""
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
