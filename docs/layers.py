"""The page of layers: each folder of generator and scheduler with its modules. Written at each build, see ``references.py``."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GENERATOR = ROOT / "generator" / "targcc_gen"
SCHEDULER = ROOT / "templates" / "scheduler" / "targcc_scheduler"
HEAD = """\
# Folders and layers

A module imports modules of its own layer and of lower layers; imports form no cycle. [Architecture](../architecture.md) explains the layers.
"""


def page() -> str:
    """Return the Markdown of the page. The tests of imports have the layers."""
    tests = ROOT / "tests"
    sys.path += [str(folder) for folder in (tests, tests / "generator", tests / "scheduler")]
    import test_generator_layers
    import test_layers

    tables = {
        "The generator": table(GENERATOR, test_generator_layers.LAYERS),
        "The scheduler": table(SCHEDULER, test_layers.LAYERS),
    }
    return "\n".join([HEAD, *(f"## {title}\n\n{rows}" for title, rows in tables.items())])


def table(package: Path, layers: tuple[tuple[str, ...], ...]) -> str:
    """Return the table of a package, the highest layer first."""
    lines = ["| layer | folder or module | what is in it | modules |", "|---|---|---|---|"]
    for layer in reversed(range(len(layers))):
        for name in layers[layer]:
            lines += [
                f"| {layer} | {_shown(path, package)} | {_first_line(path)} | {_modules(path)} |"
                for path in _rows(package, name)
            ]
    return "\n".join(lines) + "\n"


def _rows(package: Path, name: str) -> list[Path]:
    """Return the module, or the folder and its subfolders with modules."""
    folder = package / name
    if not folder.is_dir():
        return [package / f"{name}.py"]
    return [
        folder,
        *sorted(file.parent for file in folder.rglob("__init__.py") if file.parent != folder),
    ]


def _shown(path: Path, package: Path) -> str:
    name = path.relative_to(package).with_suffix("").as_posix()
    return f"`{name}/`" if path.is_dir() else f"`{name.strip('_')}`"


def _modules(path: Path) -> str:
    """Return the names of a folder's modules."""
    names = sorted(file.stem for file in path.glob("*.py")) if path.is_dir() else []
    return ", ".join(f"`{name}`" for name in names if name != "__init__")


def _first_line(path: Path) -> str:
    file = path / "__init__.py" if path.is_dir() else path
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0].replace("|", "\\|")
