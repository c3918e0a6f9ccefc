"""Write each file of docs/recipes.md to its stated path and run the tests among the files."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "recipes.md"
SERVICES = ROOT / "templates" / "project" / "src" / "{{ package }}" / "services.py"
SCHEDULER = """
from targcc_scheduler import Project, configure

configure(Project(name="acme-jobs", package="acme_jobs", database_url="sqlite:///acme_jobs.db"))


import targcc_scheduler


def __getattr__(name):
    return getattr(targcc_scheduler, name)
"""


def files() -> dict[str, str]:
    """Return the files of the page by path."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == text.count("```python")
    return dict(blocks)


@pytest.mark.usefixtures("processes")
def test_each_recipe_has_a_test_that_passes(tmp_path: Path):
    recipes = files()
    package = tmp_path / "src" / "acme_jobs"
    for path, text in recipes.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for folder in (package, package / "jobs"):
        (folder / "__init__.py").touch()
    (package / "scheduler.py").write_text(SCHEDULER, encoding="utf-8")
    (package / "services.py").write_text(SERVICES.read_text(encoding="utf-8"), encoding="utf-8")
    environment = {name: text for name, text in os.environ.items() if "TARGCC" not in name}
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "asyncio_mode=auto", "tests"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )

    jobs = [path for path in recipes if path.startswith("src/acme_jobs/jobs/")]
    assert len(jobs) == 7
    assert {f"tests/jobs/test_{Path(path).name}" for path in jobs} <= recipes.keys()
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b8 passed", done.stdout)
