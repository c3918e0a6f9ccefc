"""A project with its services.py, built to be imported as ``hybrid_jobs``: for jobs that stay in the old ``c_Job``."""

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

from rt_package import PROJECT, ROOT, TEMPLATE

JOB = '''"""A job that moved into the code."""

from hybrid_jobs.scheduler import job


@job("0 5 * * *", name="Moved already")
def moved() -> None:
    """Do what the procedure did."""
'''


def _build() -> Path:
    """A folder to import ``hybrid_jobs`` from."""
    source = Path(tempfile.mkdtemp(prefix="hybrid_jobs-"))
    atexit.register(shutil.rmtree, source, ignore_errors=True)
    package = source / "hybrid_jobs"
    shutil.copytree(
        TEMPLATE / "src" / "{{ package }}",
        package,
        ignore=shutil.ignore_patterns("__pycache__", "*.jinja"),
    )
    shutil.copy(ROOT / "generator" / "targcc_gen" / "cron.py", package / "scheduler" / "cron.py")
    project = PROJECT.replace("rt_jobs", "hybrid_jobs")
    (package / "scheduler" / "project.py").write_text(project)
    shutil.copytree(TEMPLATE / "migrations", package / "migrations")
    (package / "__init__.py").touch()
    (package / "jobs").mkdir(exist_ok=True)
    (package / "jobs" / "__init__.py").touch()
    (package / "jobs" / "moved.py").write_text(JOB)
    return source


SOURCE = _build()
sys.path.insert(0, str(SOURCE))
