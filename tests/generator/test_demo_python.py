"""Check whether the demo can run in the generator's interpreter."""

import importlib.metadata
import sys
from pathlib import Path

import pytest
from targcc_gen.demo import find_python

VERSION = importlib.metadata.version("targcc-scheduler")


def found(root: Path, *requirements: str) -> bool:
    listed = ", ".join(f'"{requirement}"' for requirement in requirements)
    (root / "pyproject.toml").write_text(
        f"[project]\nname = 'x'\ndependencies = [{listed}]\n", encoding="utf-8"
    )
    return find_python(root) == Path(sys.executable)


def test_an_editable_scheduler_will_do(tmp_path: Path):
    assert found(tmp_path, f"targcc-scheduler[run]=={VERSION}")


@pytest.mark.parametrize(
    "requirement", ["targcc-scheduler[run]==0.0.1", "no-such-distribution", "click<1"]
)
def test_another_version_or_nothing_will_not_do(tmp_path: Path, requirement: str):
    assert not found(tmp_path, "click", requirement)


def test_what_an_extra_asks_for_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "sqlalchemy":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)

    assert found(tmp_path, f"targcc-scheduler=={VERSION}")
    assert not found(tmp_path, f"targcc-scheduler[run]=={VERSION}")


def test_a_requirement_for_other_systems_does_not_count(tmp_path: Path):
    assert found(tmp_path, "no-such-distribution; sys_platform == 'none'")
