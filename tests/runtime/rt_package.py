"""The scheduler package as it stands in a project, built to be imported as ``rt_jobs``."""

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "templates" / "project"

PROJECT = '''"""What differs between projects."""

NAME: str = "rt-jobs"
PACKAGE: str = "rt_jobs"
DESCRIPTION: str = ""
TIMEZONE: str = "Europe/Berlin"
DATABASE_URL: str = "sqlite:///rt_jobs.db"
QUEUES: dict[str, int] = {"default": 5, "critical": 2}
QUEUE: str = "default"
RETRIES: int = 3
BACKOFF: str = "30s"
TIMEOUT: str | None = "1h"
GENERATOR_VERSION: str = "0.1.0"
'''


def _build() -> Path:
    """A folder to import ``rt_jobs`` from."""
    source = Path(tempfile.mkdtemp(prefix="rt_jobs-"))
    atexit.register(shutil.rmtree, source, ignore_errors=True)
    package = source / "rt_jobs"
    shutil.copytree(
        TEMPLATE / "src" / "{{ package }}" / "scheduler",
        package / "scheduler",
        ignore=shutil.ignore_patterns("__pycache__", "*.jinja"),
    )
    shutil.copy(ROOT / "generator" / "targcc_gen" / "cron.py", package / "scheduler" / "cron.py")
    (package / "scheduler" / "project.py").write_text(PROJECT)
    shutil.copytree(TEMPLATE / "migrations", package / "migrations")
    (package / "__init__.py").write_text('"""A project."""\n')
    (package / "jobs").mkdir()
    (package / "jobs" / "__init__.py").write_text('"""Its jobs."""\n')
    return source


SOURCE = _build()
sys.path.insert(0, str(SOURCE))
