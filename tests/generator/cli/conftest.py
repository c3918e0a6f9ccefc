"""Give each test a copy of the project that `targcc-gen new` makes once per module from the module's `SPEC`.

A module with another project has its own fixtures.
"""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli import main


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return the unchanged project."""
    folder = tmp_path_factory.mktemp("fresh")
    (folder / "spec.yaml").write_text(request.module.SPEC, encoding="utf-8")
    made = CliRunner().invoke(
        main, ["new", str(folder / "acme"), "--spec", str(folder / "spec.yaml")]
    )
    assert made.exit_code == 0, made.output
    return folder / "acme"


@pytest.fixture
def project(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the project and change into the copy."""
    shutil.copytree(fresh, tmp_path / "acme")
    monkeypatch.chdir(tmp_path / "acme")
    return tmp_path / "acme"
