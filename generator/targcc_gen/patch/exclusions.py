"""What keeps a project's formatter, linter and type checker out of a copy of the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targcc_gen.patch.target_package import TargetPackage


@dataclass(frozen=True)
class _Tool:
    """How a tool is told to leave a folder alone.

    Args:
        name: Its name, also of its table in pyproject.toml.
        files: Its own settings files.
        in_pyproject: The line for pyproject.toml, from the folder and the module.
        in_file: The line for its own file.
    """

    name: str
    files: tuple[str, ...]
    in_pyproject: Callable[[str, str], str]
    in_file: Callable[[str, str], str]


_TOOLS = (
    _Tool("black", (), lambda folder, _: f'extend-exclude = "^/{folder}/"', lambda *_: ""),
    _Tool(
        "isort",
        (".isort.cfg",),
        lambda folder, _: f'extend_skip = ["{folder}"]',
        lambda folder, _: f"extend_skip = {folder}",
    ),
    _Tool(
        "mypy",
        ("mypy.ini", ".mypy.ini"),
        lambda _, module: f'[[tool.mypy.overrides]] module = ["{module}", "{module}.*"], ignore_errors = true',
        lambda _, module: f"[mypy-{module}.*] ignore_errors = True",
    ),
    _Tool(
        "pyright",
        ("pyrightconfig.json",),
        lambda folder, _: f'ignore = ["{folder}"]',
        lambda folder, _: f'"ignore": ["{folder}"]',
    ),
    _Tool(
        "pylint",
        (".pylintrc", "pylintrc"),
        lambda folder, _: f'[tool.pylint.main] ignore-paths = ["^{folder}/"]',
        lambda folder, _: f"ignore-paths=^{folder}/",
    ),
    _Tool(
        "flake8",
        (".flake8", "tox.ini"),
        lambda folder, _: f'extend-exclude = ["{folder}"]',
        lambda folder, _: f"extend-exclude = {folder}",
    ),
)


def exclusions(root: Path, package: TargetPackage, pyproject: dict[str, Any]) -> list[str]:
    """The line to add for each tool that the project is set up for; ruff and git have files of their own in the copy.

    Args:
        root: The project's folder.
        package: Where the copy goes.
        pyproject: The project's pyproject.toml.
    """
    folder = (package.folder / "scheduler").relative_to(root).as_posix()
    found = []
    for tool in _TOOLS:
        if tool.name in pyproject.get("tool", {}):
            place, line = "pyproject.toml", tool.in_pyproject(folder, package.router_module)
        elif file := _settings_file(root, tool):
            place, line = file, tool.in_file(folder, package.router_module)
        else:
            continue
        found.append(f"{place}: keep {tool.name} out of the copy of the scheduler: {line}")
    return found


def _settings_file(root: Path, tool: _Tool) -> str:
    """The file with the tool's settings: its own, or setup.cfg or tox.ini with a section for it."""
    for name in (*tool.files, "setup.cfg"):
        path = root / name
        if path.is_file():
            own = name not in {"setup.cfg", "tox.ini"}
            if own or f"[{tool.name}" in path.read_text(encoding="utf-8", errors="replace"):
                return name
    return ""
