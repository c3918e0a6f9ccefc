"""The rooms of the house are where the architecture page says, and doors open one way."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = ROOT / "generator" / "targcc_gen"
SCHEDULER = ROOT / "templates" / "project" / "src" / "{{ package }}" / "scheduler"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

# A room may use itself and what stands below it.
FLOORS = (
    {"cli"},
    {"demo"},
    {"legacy", "patch"},
    {"sync"},
    {"render"},
    {"spec"},
    {"dialects"},
    {"clockchange"},
    {"names", "cron"},
    {"errors", "assets"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "targcc_gen" and len(parts) > 1 else None


def imports(path: Path) -> Iterator[str]:
    """The modules a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def upward(path: Path) -> set[str]:
    """The rooms above its own, or beside it, that a file uses."""
    own = path.relative_to(GENERATOR).parts[0].removesuffix(".py")
    used = {room for module in imports(path) if (room := room_of(module)) in FLOOR_OF}
    return {room for room in used if room != own and FLOOR_OF[room] <= FLOOR_OF[own]}


def test_imports_go_one_way_along_the_pipe():
    modules = [
        path
        for path in GENERATOR.rglob("*.py")
        if path.parent != GENERATOR or path.stem in FLOOR_OF
    ]

    wrong = {path.name: rooms for path in modules if (rooms := upward(path))}
    assert len(modules) > 80
    assert wrong == {}


def test_the_command_line_starts_with_nothing_but_click():
    heavy = {"black", "copier", "jinja2", "libcst", "pydantic", "rich", "yaml", "merge3"}
    found = []
    for path in sorted((GENERATOR / "cli").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] in heavy]

    assert found == []


def test_each_module_of_the_scheduler_is_on_the_page():
    modules = {path.name.partition(".")[0] for path in SCHEDULER.glob("*.py*")} - {"__init__"}
    names = modules | {f"{path.parent.name}/" for path in SCHEDULER.glob("*/__init__.py")}

    assert {
        name for name in names if f"`{name}`" not in PAGE and f"`{name}.py`" not in PAGE
    } == set()


def test_each_module_on_the_page_is_there():
    files = {
        path.stem.removesuffix(".py")
        for root in (GENERATOR, SCHEDULER)
        for path in root.rglob("*.*")
    }
    folders = {
        path.name for root in (GENERATOR, SCHEDULER) for path in root.rglob("*") if path.is_dir()
    }
    named = set(re.findall(r"`(\w+)\.py`", PAGE))
    tables = "\n".join(line for line in PAGE.splitlines() if line.startswith("| ") and "`" in line)
    rooms = set(re.findall(r"`(\w+)/`", tables))

    assert named - files - {"services", "main"} == set()
    assert rooms - folders - {"scheduler"} == set()
