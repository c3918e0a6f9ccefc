"""The schedules package is self-contained and imports nothing else of the scheduler."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from targcc_scheduler import schedules

FOLDER = Path(schedules.__file__).parent
MODULES = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts): path for path in FOLDER.rglob("*.py")
}


def imports(path: Path) -> Iterator[str]:
    """Yield the imports of a file, at its top or inside functions; one leading dot means this folder, more dots mean outside."""
    above = path.relative_to(FOLDER).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = node.level - 1
            inside = above[: len(above) - up] if node.level else ()
            dots = "." * (1 if 0 <= up <= len(above) else node.level)
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (dots + ".".join([*inside, name]) for name in names)


def is_allowed(name: str) -> bool:
    if name.startswith("."):
        return name[1:] in MODULES
    return name.partition(".")[0] in sys.stdlib_module_names


def test_only_the_standard_library_and_the_folder_itself_are_imported():
    foreign = {
        stem: [name for name in imports(path) if not is_allowed(name)]
        for stem, path in MODULES.items()
    }

    assert {stem: names for stem, names in foreign.items() if names} == {}


def test_no_module_imports_itself_through_others():
    graph = {
        stem: {name[1:] for name in imports(path) if name.startswith(".")}
        for stem, path in MODULES.items()
    }

    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order[-1] == "__init__"


@pytest.mark.usefixtures("processes")
def test_it_runs_under_another_name_where_nothing_is_installed(tmp_path):
    """A project has a copy of the package inside its own package."""
    shutil.copytree(FOLDER, tmp_path / "host" / "when")
    code = (
        "import sys; from host.when import CronSchedule; print(CronSchedule.parse('0 2 * * *').describe());"
        "print(*sorted({m.partition('.')[0] for m in sys.modules if '_sysconfigdata' not in m} - sys.stdlib_module_names - {'host', '__main__'}))"
    )
    python = [sys.executable, "-S", "-c", code]
    out = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["at 02:00 every day", ""]
