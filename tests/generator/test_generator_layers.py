"""Layers of the generator: a module imports modules of its own folder and of lower layers, and no imports form a cycle."""

from pathlib import Path

import pytest
from import_graph import (
    between_folders,
    cycles,
    edges_of,
    imported_names,
    module_files,
    single_module_folders,
    upward,
)

pytestmark = pytest.mark.slow  # its tests parse every module

PACKAGE = Path(__file__).resolve().parents[2] / "generator" / "targcc_gen"
# From low to high. A folder may import lower layers, and no other folder of its own layer.
LAYERS = (
    ("__init__", "assets", "errors", "git"),
    ("names", "visible"),
    ("spec",),
    ("render",),
    ("sync",),
    ("readers",),
    ("old_runners",),
    ("sources",),
    ("evidence",),
    ("parity",),
    ("report", "dependencies"),
    ("importing", "patch", "demo", "scheduler_switch"),
    ("cli",),
    ("__main__",),
)
LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}


@pytest.fixture(scope="module")
def edges() -> dict[str, set[str]]:
    return edges_of(PACKAGE)


def breaches(edges) -> set[str]:
    below = {
        module: {target for target in targets if target != "__init__"}
        for module, targets in edges.items()
    }
    return upward(below, LAYER_OF, beside=False)


def test_each_folder_has_a_layer(edges):
    assert {module.partition(".")[0] for module in edges} == set(LAYER_OF)


def test_imports_go_down(edges):
    assert breaches(edges) == set()


def test_no_imports_form_a_cycle(edges):
    assert cycles(edges) == []


def test_no_imports_between_folders_form_a_cycle(edges):
    assert cycles(between_folders(edges)) == []


def test_no_folder_holds_a_single_module():
    assert single_module_folders(PACKAGE) == []


def test_of_the_scheduler_only_shared_schedules_names_texts_and_file_formats_are_imported():
    names = {
        f"{file.relative_to(PACKAGE)}: {name}"
        for file in module_files(PACKAGE).values()
        for name in imported_names(file)
        if name.startswith("targcc_scheduler")
        and not name.startswith(
            (
                "targcc_scheduler.schedules",
                "targcc_scheduler.features.flows",
                "targcc_scheduler.core.error_codes",
                "targcc_scheduler.core.command_words",
                "targcc_scheduler.core.completion_scripts",
                "targcc_scheduler.core.sign_off",
            )
        )
        and name not in {"targcc_scheduler.features", "targcc_scheduler.features.FEATURES"}
    }
    assert names == set()


def test_the_reference_of_the_old_runners_knows_nothing_of_what_they_are_translated_to(
    edges,
):
    """Stricter than the layers: the reference reads rows and derives everything else from the old runners' rules."""
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
        if any(name.startswith("targcc_scheduler") for name in imported_names(path))
    ]
    assert others == {"readers.rows"}
    assert schedules == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from targcc_gen.cli.project import open_project", {"spec.planted imports cli.project"}),
        ("from ..cli import project", {"spec.planted imports cli.project"}),
        ("def late():\n    import targcc_gen.sync.lock", {"spec.planted imports sync.lock"}),
        ("from targcc_gen import render", {"spec.planted imports render"}),
        ("if TYPE_CHECKING:\n    from targcc_gen.cli.project import open_project", set()),
    ],
)
def test_a_planted_breach_is_found(tmp_path: Path, source: str, expected: set[str]):
    package = tmp_path / "targcc_gen"
    for module in ("cli/project", "sync/lock", "spec/models", "render/__init__"):
        (package / module).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{module}.py").write_text("", encoding="utf-8")
    (package / "spec" / "planted.py").write_text(source, encoding="utf-8")

    assert breaches(edges_of(package)) == expected


def test_a_planted_cycle_is_found():
    edges = {"a.one": {"b.two"}, "b.two": {"b.three"}, "b.three": set(), "a.four": set()}
    assert cycles(edges) == []
    assert cycles({**edges, "b.three": {"a.four"}}) == []
    assert cycles({**edges, "b.three": {"a.one"}}) == [{"a.one", "b.two", "b.three"}]


def test_a_planted_cycle_of_folders_is_found():
    edges = {"a.x.one": {"a.y.two"}, "a.y.two": {"a.base"}, "a.base": set(), "a.x.three": set()}
    assert cycles(between_folders({**edges, "a.base": {"a.x.three"}})) == []
    assert cycles(between_folders({**edges, "a.y.two": {"a.x.three"}})) == [{"a.x", "a.y"}]


def test_a_planted_folder_with_a_single_module_is_found(tmp_path: Path):
    for module in ("few/one", "many/one", "many/two", "outer/only", "outer/inner/one"):
        (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{module}.py").write_text("", encoding="utf-8")
    (tmp_path / "outer" / "inner" / "two.py").write_text("", encoding="utf-8")

    assert single_module_folders(tmp_path) == ["few"]
