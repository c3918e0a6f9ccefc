"""Locate an app's file: project folder, import folder, module name."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

from targcc_gen.errors import AppChoiceError, LayoutError, PathError
from targcc_gen.patch.app_file import AppFile, SourceError

SPEC = "targcc.yaml"
_MARKS = (SPEC, "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", ".git")


@dataclass(frozen=True)
class Layout:
    """How an app file is imported.

    Args:
        root: The project's folder.
        source: The folder on Python's path: the root, or a folder below the root such as `src`.
        module: The file's module: `acme.main`, or `main` for a file outside packages.
        package: The file's package; empty for a file outside packages.
    """

    root: Path
    source: Path
    module: str
    package: str

    @property
    def top(self) -> str:
        """The outermost package; empty for a file outside packages."""
        return self.package.partition(".")[0]

    @property
    def inside(self) -> str:
        """The source folder relative to the root, as in the spec: `src`, `backend/app` or `.`."""
        return self.source.relative_to(self.root).as_posix()


def may_make_app(path: str) -> bool:
    """Return whether a file that a patch edited may make an app: no `env.py` of Alembic, and no test."""
    name = path.rpartition("/")[2]
    return name.endswith(".py") and name != "env.py" and not name.startswith("test_")


def find_root(start: Path) -> Path:
    """Return the nearest folder, from `start` upwards, with a spec; else with another project file or `.git`; else the first.

    Args:
        start: A folder or a file, absolute.
    """
    folders = [*([start] if start.is_dir() else []), *start.parents]
    for marks in ((SPEC,), _MARKS):
        for folder in folders:
            if any((folder / mark).exists() for mark in marks):
                return folder
    return folders[0]


def find_layout(file: AppFile, path: Path, root: Path, module: str | None = None) -> Layout:
    """Return how Python imports `path`.

    Args:
        file: The parsed file; its imports show a package without `__init__.py`.
        path: The file, absolute.
        root: The project's folder, absolute.
        module: The module of `--app module:name`, if given.

    Raises:
        InputError: The file is outside the project, or can be imported in more than one way.
    """
    if not path.is_relative_to(root):
        raise PathError(
            f"{path} is not in the project {root}", hint="Name its folder with --project"
        )
    parts = _module_parts(path)
    depth = _named_depth(parts, module, file) if module else _package_depth(path, root)
    if depth is None:
        depth = _depth_by_imports(file, path, root)
    package_parts = parts[len(parts) - depth :]
    source = path.parents[depth - 1 if path.name != "__init__.py" else depth]
    if not source.is_relative_to(root):
        raise LayoutError(
            f"{path}: its package begins outside the project {root}",
            hint="Name its folder with --project",
        )
    package = package_parts if path.name == "__init__.py" else package_parts[:-1]
    return Layout(root, source, ".".join(package_parts), ".".join(package))


def _module_parts(path: Path) -> tuple[str, ...]:
    return path.parent.parts if path.name == "__init__.py" else path.with_suffix("").parts


def _named_depth(parts: tuple[str, ...], module: str, file: AppFile) -> int:
    wanted = tuple(module.split("."))
    if parts[-len(wanted) :] != wanted:
        raise AppChoiceError(f"--app {module}: {file.source.name} is not the file of that module")
    return len(wanted)


def _package_depth(path: Path, root: Path) -> int | None:
    """Return the number of trailing path parts that make the module; `None` when the folders do not tell."""
    depth = 0 if path.name == "__init__.py" else 1
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        depth += 1
        folder = folder.parent
    if depth > 1 or path.name == "__init__.py" or path.parent == root:
        return depth
    return None


def _depth_by_imports(file: AppFile, path: Path, root: Path) -> int:
    """Return the number of trailing parts by the file's imports, for a folder without `__init__.py`.

    Raises:
        SourceError: The imports do not tell either.
    """
    relative, absolute = _imported(file)
    in_src = path.is_relative_to(root / "src") and "src" not in absolute
    if in_src and path.parent == root / "src" and not relative:
        return 1
    base = root / "src" if in_src and path.parent != root / "src" else root
    inside = path.relative_to(base).with_suffix("").parts
    if relative or (inside[0] in absolute and all(part.isidentifier() for part in inside)):
        return len(inside)
    if any(
        (path.parent / f"{name}.py").is_file() or (path.parent / name).is_dir() for name in absolute
    ):
        return 1
    name = file.source.name
    raise SourceError(
        f"{name}: error: its folder has no __init__.py, so it may be imported as {'.'.join(inside)} or as {inside[-1]}",
        hint=f"Say how your server imports it: --app {'.'.join(inside)}:app or --app {inside[-1]}:app",
    )


def _imported(file: AppFile) -> tuple[bool, set[str]]:
    """Return whether the file has relative imports, and the first parts of its absolute imports."""
    relative, absolute = False, set()
    for node in file.nodes:
        if isinstance(node, ast.ImportFrom):
            relative = relative or bool(node.level)
            if node.module and not node.level:
                absolute.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            absolute |= {alias.name.partition(".")[0] for alias in node.names}
    return relative, absolute


def pyproject(root: Path) -> dict[str, object]:
    """Read the project's pyproject.toml; empty without the file.

    Raises:
        InputError: The file is not valid TOML.
    """
    path = root / "pyproject.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: error: {error}") from error
