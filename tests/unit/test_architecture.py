"""The rooms of the house are where the architecture page says. Who imports whom: `tests/generator/test_rooms.py`."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = ROOT / "generator" / "targcc_gen"
SCHEDULER = ROOT / "templates" / "project" / "src" / "{{ package }}" / "scheduler"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_command_line_starts_with_nothing_but_click():
    heavy = {"black", "copier", "jinja2", "libcst", "pydantic", "rich", "yaml", "merge3"}
    found = []
    for path in sorted((GENERATOR / "cli").rglob("*.py")):
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
