"""The commands that add requirements to a project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def install_command(root: Path, pyproject: dict[str, Any], requirements: Sequence[str]) -> str:
    """The line that adds requirements to the project with the tool it uses."""
    quoted = " ".join(f'"{text}"' for text in requirements)
    tools = pyproject.get("tool", {})
    if "poetry" in tools:
        return f"poetry add {quoted}"
    if "pdm" in tools or (root / "pdm.lock").is_file():
        return f"pdm add {quoted}"
    if (root / "Pipfile").is_file():
        return f"pipenv install {quoted}"
    if "project" in pyproject:
        return f"uv add {quoted}"
    target = " (and add them to requirements.txt)" if (root / "requirements.txt").is_file() else ""
    return f"python -m pip install {quoted}{target}"
