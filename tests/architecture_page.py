"""Table of the scheduler's layers in ``docs/architecture.md``, generated from the code. Run this file to write the table anew."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- layers: begin -->", "<!-- layers: end -->"


def drawn(page: str) -> str:
    """Return the page with the table generated from the current code."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{_table()}{END}{after}"


def _table() -> str:
    sys.path.insert(0, str(ROOT / "tests" / "scheduler"))
    from test_layers import LAYERS
    from test_layers import ROOT as SCHEDULER

    lines = ["| layer | folder or module | what is in it | modules |", "|---|---|---|---|"]
    for layer in reversed(range(len(LAYERS))):
        for name in LAYERS[layer]:
            lines += [
                f"| {layer} | {_shown(path, SCHEDULER)} | {_first_line(path)} | {_modules(path)} |"
                for path in _rows(SCHEDULER, name)
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


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
