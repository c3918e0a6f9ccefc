"""Features: each can be left out of the project, unless another feature needs it, and manifests are read without importing their parts."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import test_layers
import without_feature
from jinja2 import nodes
from processes import environment
from targcc_scheduler import features
from targcc_scheduler.kernel import feature as kernel_feature
from targcc_scheduler.web.dashboard import rendering

ROOT = Path(features.__file__).parent
MANIFESTS = {
    name: importlib.import_module(f"{features.__name__}.{name}.feature").FEATURE
    for name in features.FEATURES
}
NEEDED = {name for manifest in MANIFESTS.values() for name in manifest.needs}
OPTIONAL = [name for name in features.FEATURES if name not in NEEDED]


def project_without(name: str, url: str, folder: Path) -> dict[str, Any]:
    """Run a project without a feature in a fresh process, and return what came of it."""
    done = subprocess.run(
        [sys.executable, without_feature.__file__, name, url, str(folder)],
        cwd=folder,
        env=environment(TARGCC_MODE="embedded", TARGCC_KEEPALIVE="false"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def check(outcome: dict[str, Any], name: str) -> None:
    """Check that a job ran, that pages and API answer, and that commands say which feature is not installed."""
    assert outcome["state"] == "succeeded"
    assert set(outcome["pages"].values()) == {200}, outcome["pages"]
    assert set(outcome["api"].values()) == {200}, outcome["api"]
    assert outcome["dead links"] == []
    status, text = outcome["help"]
    assert (status, text[:13]) == (0, "Usage: targcc")
    for command, (status, text) in outcome["commands"].items():
        assert status == 2, command
        assert (
            text
            == f"error[TS611]: targcc {command} comes with the feature {name}, which is not installed\n"
            "  targcc explain TS611\n"
        )
    assert outcome["imported"] == []


@pytest.mark.soak
@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("name", OPTIONAL)
def test_a_project_runs_without_a_feature(name, tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "jobs.db")
    outcome = project_without(name, f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path)
    check(outcome, name)
    commands = [
        part.name for part in MANIFESTS[name].parts if isinstance(part, kernel_feature.Commands)
    ]
    assert list(outcome["commands"]) == commands


def test_a_project_runs_without_a_feature_on_postgresql(postgresql_url, tmp_path):
    """Ring 2 leaves out one feature, ring 3 each."""
    check(project_without(OPTIONAL[-1], postgresql_url, tmp_path), OPTIONAL[-1])


def test_no_global_of_the_templates_has_the_name_of_what_a_feature_adds():
    """A template asks whether a feature's value is defined; a global of that name always is."""
    env = rendering.environment()
    asked = {
        test.node.name
        for name in env.list_templates()
        for test in env.parse(env.loader.get_source(env, name)[0]).find_all(nodes.Test)
        if test.name == "defined" and isinstance(test.node, nodes.Name)
    }
    assert {"trend", "why"} <= asked
    assert not asked & env.globals.keys()


def test_each_folder_of_features_is_named():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == set(features.FEATURES)


@pytest.mark.parametrize("name", features.FEATURES)
def test_each_part_of_a_manifest_can_be_imported(name):
    for part in MANIFESTS[name].parts:
        assert MANIFESTS[name].load(part) is not None


@pytest.mark.usefixtures("processes")
def test_reading_the_manifests_imports_no_part():
    code = (
        "import sys; from targcc_scheduler.kernel.feature import installed; installed();"
        "print(*sorted(name for name in sys.modules if name.startswith('targcc_scheduler.features.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = {name.removeprefix("targcc_scheduler.features.") for name in done.stdout.split()}
    assert modules == {*features.FEATURES, *(f"{name}.feature" for name in features.FEATURES)}


def test_a_needed_feature_that_is_missing_is_refused(monkeypatch):
    needy = kernel_feature.Feature(
        MANIFESTS["search"].package + ".feature", needs=("alerts", "flows"), parts=()
    )
    manifest = importlib.import_module(f"{features.__name__}.search.feature")
    monkeypatch.setattr(manifest, "FEATURE", needy)
    monkeypatch.setattr(features, "FEATURES", ("search", "flows"))
    with pytest.raises(
        LookupError, match=r"^the feature search needs alerts, which is not installed$"
    ):
        kernel_feature._installed.__wrapped__(())


@pytest.mark.slow
def test_a_feature_imports_only_features_that_its_manifest_names():
    assert imports_beyond_needs() == set()


def imports_beyond_needs() -> set[str]:
    """Return the imports of other features that the manifest does not name in ``needs``."""
    return {
        f"{name} imports {target}"
        for name, targets in test_layers.edges().items()
        for target in targets
        if name.startswith("features.") and target.startswith("features.")
        if (own := name.split(".")[1]) != (other := target.split(".")[1])
        and other not in MANIFESTS[own].needs
    }
