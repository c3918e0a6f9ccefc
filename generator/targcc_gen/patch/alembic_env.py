"""Keep an app's own Alembic from the scheduler's tables: `include_name=is_not_ours` in its `env.py`, put in and taken out.

Autogenerate compares all tables of a database with the app's models, so that the next revision of the app would drop the scheduler's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from targcc_gen.patch.apps import LARGEST, python_files
from targcc_gen.render.package import PACKAGE

NAME = "is_not_ours"
FILE = "env.py"
OPTION = "include_name"


@dataclass(frozen=True)
class AlembicEnv:
    """An app's `env.py`.

    Args:
        path: The file below the project's folder.
        before: The bytes on disk.
        after: The bytes with the option; None if the file cannot be edited with certainty.
        importing: The import: `from shop.scheduler import is_not_ours`.
    """

    path: str
    before: bytes
    after: bytes | None
    importing: str

    @property
    def by_hand(self) -> tuple[str, ...]:
        """The two lines that a person adds; empty if the file can be edited or has the option."""
        if self.after is not None:
            return ()
        call = f"context.configure(…, {OPTION}={NAME})"
        return (f"add to {self.path}: {self.importing}", f"and to each call there: {call}")


def find_envs(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the bytes of each `env.py` of Alembic below a folder."""
    for path in sorted(python_files(root)):
        if path.name != FILE:
            continue
        try:
            data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
        except OSError:
            continue
        if b"alembic" in data and b"context" in data:
            yield path.relative_to(root).as_posix(), data


def lacks_option(data: bytes) -> bool:
    """Return whether an `env.py` leaves the scheduler's tables to autogenerate."""
    return NAME.encode() not in data


def module_for(data: bytes, source: Path, package: str) -> str:
    """Return the module to import from: the app's `scheduler` if the file imports modules beside it, else the distribution."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError):
        return PACKAGE
    names = {name.partition(".")[0] for node in ast.walk(tree) for name in _imported(node)}
    is_beside = any(
        (source / f"{name}.py").is_file() or (source / name).is_dir()
        for name in names - {"alembic"}
    )
    return f"{package}.scheduler" if is_beside else PACKAGE


def _imported(node: ast.AST) -> list[str]:
    """Return the modules of an absolute import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return (
        [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
    )
