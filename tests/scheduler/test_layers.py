"""Layers of the scheduler: a module imports modules of its own layer and of lower layers, and no imports form a cycle."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import targcc_scheduler
from import_graph import cycles, edges_of, module_files, single_module_folders

pytestmark = pytest.mark.slow  # its tests parse every module

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
        "typed_calls",
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


@cache
def edges() -> dict[str, set[str]]:
    return edges_of(ROOT)


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
        for name, targets in edges().items()
        for target in targets
        if layer(target, layer_of) > layer(name, layer_of)
        or (name.startswith(("web.", "cli.")) and target.startswith("features."))
    }


def test_every_module_has_a_layer():
    assert {name.split(".")[0] for name in module_files(ROOT)} == set(LAYER_OF)


def test_no_module_imports_a_higher_layer_beyond_the_known_exceptions():
    known = set(UPWARD.read_text(encoding="utf-8").split("\n")) - {""}
    assert upward(LAYER_OF) == known


def test_an_upward_import_is_named():
    upside_down = LAYER_OF | {"db": 99}
    assert any(line.endswith("imports db.tables") for line in upward(upside_down))


def test_no_imports_form_a_cycle():
    assert cycles(edges()) == []


def test_no_folder_holds_a_single_module():
    assert single_module_folders(ROOT) == []


def test_a_logger_has_the_name_of_its_module():
    wrong = []
    for name, file in module_files(ROOT).items():
        expected = ".".join(part for part in name.split(".") if part not in {"kernel", "features"})
        loggers = re.findall(r'getLogger\("targcc\.([\w.]+)"\)', file.read_text(encoding="utf-8"))
        wrong += [f"{name}: {logger}" for logger in loggers if logger not in {expected, "job"}]
    assert wrong == []
