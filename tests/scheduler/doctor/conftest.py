"""Fixtures for the doctor tests."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from web_fixtures import _apart

JOBS = """
from targcc_scheduler import job

@job("0 2 * * *", timezone="UTC")
def daily(ctx): ...
"""


@pytest.fixture
def make_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that writes a package of jobs, one module per keyword, and returns the package name."""

    def make(**modules: str) -> str:
        name = f"jobs_of_{tmp_path.name}".replace("-", "_").lower()
        folder = tmp_path / "code" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(str(folder.parent))
        return name

    yield make
    for name in [module_name for module_name in sys.modules if module_name.startswith("jobs_of_")]:
        del sys.modules[name]


@pytest.fixture
def jobs_package(make_jobs: Callable[..., str]) -> str:
    """A package with the job ``daily``."""
    return make_jobs(good=JOBS)
