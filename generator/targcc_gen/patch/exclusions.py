"""What keeps an app's formatter, linter and type checker out of the scheduler's source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from targcc_gen.render.package import SOURCE_TREE

# By tool: its own settings files, the line for pyproject.toml, the line for its own file. ruff has a file in the source tree.
_TOOLS = {
    "black": ((), 'extend-exclude = "^/vendor/"', ""),
    "isort": ((".isort.cfg",), f'extend_skip = ["{SOURCE_TREE}"]', f"extend_skip = {SOURCE_TREE}"),
    "mypy": (("mypy.ini", ".mypy.ini"), 'exclude = ["^vendor/"]', "exclude = ^vendor/"),
    "pyright": (("pyrightconfig.json",), 'exclude = ["vendor"]', '"exclude": ["vendor"]'),
    "pylint": ((".pylintrc", "pylintrc"), 'ignore-paths = ["^vendor/"]', "ignore-paths=^vendor/"),
    "flake8": ((".flake8", "tox.ini"), 'extend-exclude = ["vendor"]', "extend-exclude = vendor"),
}


def exclusions(root: Path, pyproject: dict[str, Any]) -> list[str]:
    """The line to add for each tool that the app is set up for.

    Args:
        root: The app's folder.
        pyproject: Its pyproject.toml.
    """
    notes = []
    for tool, (files, in_pyproject, in_file) in _TOOLS.items():
        if tool in pyproject.get("tool", {}):
            notes.append(f"pyproject.toml: keep {tool} out of {SOURCE_TREE}: {in_pyproject}")
        elif file := _settings_file(root, tool, files):
            notes.append(f"{file}: keep {tool} out of {SOURCE_TREE}: {in_file}")
    return notes


def _settings_file(root: Path, tool: str, files: tuple[str, ...]) -> str:
    """The file with the tool's settings: its own, or setup.cfg or tox.ini with a section for it."""
    for name in (*files, "setup.cfg"):
        path = root / name
        if path.is_file():
            own = name not in {"setup.cfg", "tox.ini"}
            if own or f"[{tool}" in path.read_text(encoding="utf-8", errors="replace"):
                return name
    return ""
