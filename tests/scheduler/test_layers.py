"""Layers of the scheduler: a module imports modules of its own layer and of lower layers, and no imports form a cycle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import targcc_scheduler

ROOT = Path(targcc_scheduler.__file__).parent
LAYERS = (
    ("core", "schedules", "project"),
    ("settings", "guides"),
    ("db",),
    ("kernel", "services"),
    (
        "enqueueing",
        "scheduler",
        "operations",
        "hosting",
        "blocking_client",
        "fake",
        "schema_setup",
        "worker_process",
    ),  # beside them, models, effects and loops of the features
    ("web",),
    ("cli",),
    ("features",),
    ("testing", "feature_contract", "pytest_plugin"),
    ("__init__", "__main__"),
)
LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}
FRAMED = ("api", "pages", "commands", "schemas", "responses", "stream", "hub", "charts", "panels")
"""Ends of the names of modules of a feature that build upon the web app and the command line."""
UPWARD = Path(__file__).with_name("upward_imports.txt")
"""Imports of a higher layer that are still there, one a line. A line may be removed, never added."""


def modules() -> dict[str, Path]:
    """Map the dotted name of each module, without the package's own, to its file."""
    result = {}
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        result[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = file
    return result


def imports(name: str, file: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of the package that a module imports, in functions too; not imports for type checkers."""
    is_package = file.name == "__init__.py" and name != "__init__"
    package = name.split(".") if is_package else name.split(".")[:-1]
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
    """Map each module to the modules that it imports."""
    known = modules()
    return {name: sorted(set(imports(name, file, known))) for name, file in known.items()}


def layer(name: str, layer_of: dict[str, int]) -> int:
    """Return the layer of a module. Models, effects and loops of a feature stand beside the façade, its pages and commands above."""
    path = name.split(".")
    first, last = path[0], path[-1]
    is_model = first == "features" and name != first and not last.endswith(FRAMED)
    return layer_of["scheduler" if is_model else first]


def upward(layer_of: dict[str, int]) -> set[str]:
    """Return the imports of higher layers, and the imports of features by the web app and the command line."""
    return {
        f"{name} imports {target}"
        for name, targets in arrows().items()
        for target in targets
        if layer(target, layer_of) > layer(name, layer_of)
        or (name.startswith(("web.", "cli.")) and target.startswith("features."))
    }


def cycles() -> list[str]:
    result, done = [], set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            result.append(" -> ".join((*path[path.index(name) :], name)))
        elif name not in done:
            for target in arrows().get(name, []):
                visit(target, (*path, name))
            done.add(name)

    for name in arrows():
        visit(name, ())
    return result


def test_every_module_has_a_layer():
    assert {name.split(".")[0] for name in modules()} == set(LAYER_OF)


def test_no_module_imports_a_higher_layer_beyond_the_known_exceptions():
    known = set(UPWARD.read_text(encoding="utf-8").split("\n")) - {""}
    assert upward(LAYER_OF) == known


def test_an_upward_import_is_named():
    upside_down = LAYER_OF | {"db": 99}
    assert any(line.endswith("imports db.tables") for line in upward(upside_down))


def test_no_imports_form_a_cycle():
    assert cycles() == []


def test_no_folder_holds_a_single_module():
    single = []
    for folder in {file.parent for file in modules().values()} - {ROOT}:
        inside = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        if len(inside) == 1 and not any(
            path.is_dir() and list(path.glob("*.py")) for path in folder.iterdir()
        ):
            single.append(folder.relative_to(ROOT).as_posix())
    assert single == []
