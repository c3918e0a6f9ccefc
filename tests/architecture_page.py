"""The table of the scheduler's rooms in ``docs/architecture.md``, drawn from the code. Run this file to draw it anew."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: begin -->", "<!-- rooms: end -->"


def drawn(page: str) -> str:
    """The page with the table as the code says it now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{_table()}{END}{after}"


def _table() -> str:
    sys.path.insert(0, str(ROOT / "tests" / "scheduler"))
    from test_scheduler_rooms import FLOORS
    from test_scheduler_rooms import ROOT as SCHEDULER

    lines = ["| floor | room | what is in it | modules |", "|---|---|---|---|"]
    for floor in reversed(range(len(FLOORS))):
        for room in FLOORS[floor]:
            folder = SCHEDULER / room
            shown = f"`{room}/`" if folder.is_dir() else f"`{room.strip('_')}`"
            file = folder / "__init__.py" if folder.is_dir() else SCHEDULER / f"{room}.py"
            lines.append(f"| {floor} | {shown} | {_first_line(file)} | {_modules(folder)} |")
    return "\n".join(lines) + "\n"


def _modules(folder: Path) -> str:
    """The modules and the rooms inside a room, by name."""
    if not folder.is_dir():
        return ""
    inside = [
        f"{path.name}/" if path.is_dir() else path.stem
        for path in sorted(folder.iterdir())
        if (path.is_dir() and (path / "__init__.py").is_file()) or path.suffix == ".py"
    ]
    return ", ".join(f"`{name}`" for name in inside if name != "__init__")


def _first_line(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0].replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
