"""Imports that reach below `<package>.scheduler`: they work with a copy of the scheduler, and not with the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DeepImport:
    """One place in a person's file.

    Attributes:
        path: POSIX path below the project's folder.
        line: The line, from 1.
        text: What stands there.
        instead: The import that works in both ways; None where the scheduler offers no such name.
    """

    path: str
    line: int
    text: str
    instead: str | None

    def to_json(self) -> dict[str, str | int | None]:
        """The place for a program."""
        return {"path": self.path, "line": self.line, "text": self.text, "instead": self.instead}


@dataclass(frozen=True)
class Search:
    """What to look for.

    Attributes:
        scheduler: The package's import name: `acme_jobs.scheduler`.
        source: The folder that `acme_jobs` is in, absolute.
        public: The names that the package offers.
    """

    scheduler: str
    source: Path
    public: frozenset[str]

    def in_files(self, root: Path, paths: Iterable[str]) -> Iterator[DeepImport]:
        """The places in these files below `root`; a file that is no Python has none."""
        for path in paths:
            try:
                tree = ast.parse((root / path).read_bytes())
            except (OSError, SyntaxError, ValueError):
                continue
            for node in ast.walk(tree):
                yield from self._found(node, path, self._package_of(root / path))

    def _package_of(self, file: Path) -> str:
        """The package that relative imports of a file start from; nothing for a file outside of the source."""
        if not file.is_relative_to(self.source):
            return ""
        return ".".join(file.relative_to(self.source).parts[:-1])

    def _found(self, node: ast.AST, path: str, package: str) -> Iterator[DeepImport]:
        if isinstance(node, ast.Import):
            if any(self._is_below(alias.name) for alias in node.names):
                yield DeepImport(path, node.lineno, ast.unparse(node), None)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, package)
            below = self._is_below(module)
            if below or (module == self.scheduler and not self._offers(node)):
                instead = self._instead(node) if below else None
                yield DeepImport(path, node.lineno, ast.unparse(node), instead)
        elif isinstance(node, ast.Constant) and self._is_path(node.value):
            yield DeepImport(path, node.lineno, repr(node.value), None)

    def _is_below(self, module: str) -> bool:
        return module.startswith(f"{self.scheduler}.")

    def _is_path(self, value: object) -> bool:
        """Whether a text names something below, as `monkeypatch.setattr` and `import_module` take it; a public name is fine."""
        if not isinstance(value, str) or not self._is_below(value):
            return False
        inside = value.removeprefix(f"{self.scheduler}.")
        return bool(re.fullmatch(r"[\w.]+", inside)) and inside not in self.public

    def _offers(self, node: ast.ImportFrom) -> bool:
        return all(alias.name in self.public or alias.name == "*" for alias in node.names)

    def _instead(self, node: ast.ImportFrom) -> str | None:
        if not self._offers(node) or any(alias.name == "*" for alias in node.names):
            return None
        return f"from {self.scheduler} import {', '.join(ast.unparse(one) for one in node.names)}"


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that is imported from, by its absolute name."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    above = parts[: len(parts) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])
