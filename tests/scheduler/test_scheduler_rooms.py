"""The import law of the scheduler: a room imports what stands below it, never what stands beside or above it, and nothing goes round."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import targcc_scheduler

ROOT = Path(targcc_scheduler.__file__).parent
FLOORS = (
    ("core", "schedules", "flows", "project"),
    ("guides", "settings", "search"),
    ("jobs", "services"),
    ("storage",),
    ("engine", "alerts", "queries", "security", "migrations"),
    ("worker", "doctor"),
    ("node", "legacy"),
    ("scheduler", "enqueueing", "operations", "hosting", "preparing", "job_process"),
    ("cutover", "oncall"),
    ("web",),
    ("cli",),
    ("__init__", "__main__", "testing", "pytest_plugin"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
TOGETHER = {
    *("scheduler", "enqueueing", "operations", "hosting", "preparing", "job_process"),
    *("testing", "pytest_plugin", "project", "core"),
}
"""Single files that may import their neighbours on the floor; what goes round is found all the same."""


def modules() -> dict[str, Path]:
    found = {}
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = file
    return found


def imports(name: str, file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a module imports, inside functions too, but not for type checkers only."""
    package = (
        name.split(".")
        if file.name == "__init__.py" and name != "__init__"
        else name.split(".")[:-1]
    )
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_checkers = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level or id(node) in for_checkers:
            continue
        base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
        base = [part for part in base if part]
        for alias in node.names:
            whole = ".".join([*base, alias.name])
            target = whole if whole in known else ".".join(base) or "__init__"
            if target != name:
                yield target


@cache
def arrows() -> dict[str, list[str]]:
    """The modules that each module imports."""
    known = modules()
    return {name: sorted(set(imports(name, file, known))) for name, file in known.items()}


def breaches(floor_of: dict[str, int]) -> list[str]:
    found = []
    for name, targets in arrows().items():
        for target in targets:
            here, there = name.split(".")[0], target.split(".")[0]
            beside = floor_of[here] == floor_of[there] and here != there
            if floor_of[there] > floor_of[here] or (beside and not {here, there} <= TOGETHER):
                found.append(f"{name} imports {target}")
    return sorted(set(found))


def circles() -> list[str]:
    found, done = [], set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append(" -> ".join((*path[path.index(name) :], name)))
        elif name not in done:
            for target in arrows().get(name, []):
                visit(target, (*path, name))
            done.add(name)

    for name in arrows():
        visit(name, ())
    return found


def test_every_room_has_a_floor():
    assert {name.split(".")[0] for name in modules()} == set(FLOOR_OF)


def test_no_room_imports_one_beside_or_above_it():
    assert breaches(FLOOR_OF) == []


def test_a_breach_is_named():
    upside_down = FLOOR_OF | {"storage": 9}
    assert any(line.endswith("imports storage.tables") for line in breaches(upside_down))


def test_no_module_imports_itself_by_a_detour():
    assert circles() == []
