"""Import rules between the generator's folders. Imports inside functions count; imports for type checkers do not."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "generator" / "targcc_gen"

# From top to bottom. A folder may import itself and the folders below it, never a folder beside or above.
FLOORS = (
    {"cli"},
    {"importing", "patch", "demo", "switching"},
    {"report", "declare"},
    {"parity"},
    {"evidence"},
    {"sources", "old_runners"},
    {"readers"},
    {"sync"},
    {"render"},
    {"spec"},
    {"names", "visible"},
    {"assets", "errors", "folders", "git"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if is_for_type_checkers(child):
            assert isinstance(child, ast.If)
            yield from (part for statement in child.orelse for part in ast.walk(statement))
        else:
            yield child
            yield from walk(child)


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports: modules, and names that may be modules."""
    for node in walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph(package: Path) -> dict[str, set[str]]:
    """Map each module below the package to its imports, without the package's own name."""
    files = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    edges: dict[str, set[str]] = {}
    for module, path in files.items():
        edges[module] = set()
        for name in imported(path):
            root, _, inside = name.partition(".")
            if root == package.name:
                edges[module].add(inside if inside in files else inside.rpartition(".")[0])
    return edges


def breaches(edges: Mapping[str, set[str]]) -> list[str]:
    """Return the imports that go up, or to a folder beside."""
    found = []
    for module, others in edges.items():
        room = module.partition(".")[0]
        for other in others:
            target = other.partition(".")[0]
            if room and target and room != target and FLOOR_OF[target] <= FLOOR_OF[room]:
                found.append(f"{module} imports {other}")
    return sorted(found)


def circles(edges: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the groups of nodes that reach each other."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        left = list(edges[start])
        while left:
            node = left.pop()
            if node not in seen:
                seen.add(node)
                left += edges[node]
        return seen

    reach = {node: reached(node) for node in edges}
    groups = {frozenset(other for other in reach[node] if node in reach[other]) for node in edges}
    return sorted((set(group) for group in groups if group), key=sorted)


def folders(edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the graph of folders. A folder and its subfolder count as one; `circles(edges)` checks imports between them."""
    result: dict[str, set[str]] = {}
    for module, others in edges.items():
        own = folder_of(module, edges)
        found = {folder_of(other, edges) for other in others}
        result.setdefault(own, set()).update(other for other in found if not one_room(own, other))
    return result


def folder_of(module: str, edges: Mapping[str, set[str]]) -> str:
    is_folder = any(other.startswith(f"{module}.") for other in edges)
    return module if is_folder else module.rpartition(".")[0]


def one_room(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return longer == shorter or not shorter or longer.startswith(f"{shorter}.")


@pytest.fixture(scope="module")
def edges() -> dict[str, set[str]]:
    return graph(PACKAGE)


def test_each_room_has_its_floor(edges):
    assert len(edges) > 100
    assert {module.partition(".")[0] for module in edges} - {""} == set(FLOOR_OF)


def test_imports_go_down(edges):
    assert breaches(edges) == []


def test_no_modules_import_each_other_in_a_circle(edges):
    assert circles(edges) == []


def test_no_folders_import_each_other_in_a_circle(edges):
    assert circles(folders(edges)) == []


def test_of_the_scheduler_only_its_schedules_and_flows_are_imported():
    found = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in PACKAGE.rglob("*.py")
        for name in imported(path)
        if name.startswith("targcc_scheduler")
        and not name.startswith(("targcc_scheduler.schedules", "targcc_scheduler.features.flows"))
    }
    assert found == set()


def test_the_reference_of_the_old_runners_knows_nothing_of_what_they_are_translated_to(
    edges,
):
    """Stricter than the import rules: the reference reads rows and derives everything else from the old runners' rules."""
    others = {
        name
        for module, names in edges.items()
        if module.startswith("old_runners.")
        for name in names
        if not name.startswith("old_runners")
    }
    schedules = [
        path.name
        for path in (PACKAGE / "old_runners").rglob("*.py")
        if any(name.startswith("targcc_scheduler") for name in imported(path))
    ]
    assert others == {"readers.cells", "readers.rows"}
    assert schedules == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from targcc_gen.cli.project import open_project", ["spec.planted imports cli.project"]),
        ("def late():\n    import targcc_gen.sync.lock", ["spec.planted imports sync.lock"]),
        ("from targcc_gen import render", ["spec.planted imports render"]),
        ("if TYPE_CHECKING:\n    from targcc_gen.cli.project import open_project", []),
    ],
)
def test_a_planted_breach_is_found(tmp_path: Path, source: str, expected: list[str]):
    package = tmp_path / "targcc_gen"
    for module in ("cli/project", "sync/lock", "spec/models", "render/__init__"):
        (package / module).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{module}.py").write_text("", encoding="utf-8")
    (package / "spec" / "planted.py").write_text(source, encoding="utf-8")

    assert breaches(graph(package)) == expected


def test_a_planted_circle_is_found():
    edges = {"a.one": {"b.two"}, "b.two": {"b.three"}, "b.three": set(), "a.four": set()}
    assert circles(edges) == []
    assert circles({**edges, "b.three": {"a.four"}}) == []
    assert circles({**edges, "b.three": {"a.one"}}) == [{"a.one", "b.two", "b.three"}]


def test_a_planted_circle_of_folders_is_found():
    edges = {"a.x.one": {"a.y.two"}, "a.y.two": {"a.base"}, "a.base": set(), "a.x.three": set()}
    assert circles(folders({**edges, "a.base": {"a.x.three"}})) == []
    assert circles(folders({**edges, "a.y.two": {"a.x.three"}})) == [{"a.x", "a.y"}]
