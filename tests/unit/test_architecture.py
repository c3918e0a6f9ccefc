"""Folders match the architecture page. `tests/generator/test_generator_layers.py` and `tests/scheduler/test_layers.py` check imports."""

import ast
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))
import layers

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = ROOT / "generator" / "targcc_gen"
SCHEDULER = ROOT / "templates" / "scheduler" / "targcc_scheduler"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_command_line_starts_with_nothing_but_click():
    heavy = {"black", "copier", "jinja2", "libcst", "pydantic", "rich", "yaml", "merge3"}
    imports = []
    for path in sorted((GENERATOR / "cli").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imports += [f"{path.name}: {name}" for name in names if name.split(".")[0] in heavy]

    assert imports == []


def test_the_page_of_layers_lists_each_folder():
    page = layers.page()
    listed = set(re.findall(r"^\| \d+ \| `([\w/]+)/` \|", page, re.MULTILINE))
    folders = {
        file.parent.relative_to(package).as_posix()
        for package in (GENERATOR, SCHEDULER)
        for file in package.rglob("__init__.py")
        if file.parent != package
    }
    assert folders - listed == set()


def test_each_module_that_the_text_names_is_there():
    files = {path.relative_to(root) for root in (GENERATOR, SCHEDULER) for path in root.rglob("*")}
    named = {Path(name) for name in re.findall(r"`([\w/]+\.py)`", PAGE)}
    missing = {name for name in named if not any(file.match(str(name)) for file in files)}
    assert (
        missing
        - {
            Path("services.py"),
            Path("main.py"),
            Path("tests/scheduler/test_layers.py"),
            Path("tests/generator/test_generator_layers.py"),
            Path("scheduler/__init__.py"),
        }
        == set()
    )
