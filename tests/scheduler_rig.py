"""The scheduler package of the template beside the jobs in ``data/rig``, laid out as generation would, to import and to run."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "templates" / "project"
PACKAGE = "rig_jobs"

_PROJECT = '''"""What targcc.yaml would say."""

NAME = "rig-jobs"
PACKAGE = "rig_jobs"
DESCRIPTION = "Jobs for the tests of engines, faults and alerts"
TIMEZONE = "Europe/Berlin"
DATABASE_URL = "sqlite:///rig_jobs.db"
QUEUES: dict[str, int] = {"default": 5, "critical": 2}
QUEUE = "default"
RETRIES: int = 3
BACKOFF = "1s"
TIMEOUT: str | None = None
GENERATOR_VERSION = "0.0.0"
'''


def install() -> Path:
    """Lay the package out in a temporary folder, once a process, and put it on ``sys.path``; returns the source root."""
    for entry in sys.path:
        if (Path(entry) / PACKAGE).is_dir():
            return Path(entry)
    root = Path(tempfile.mkdtemp(prefix="targcc-rig-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    source = build(root)
    sys.path.insert(0, str(source))
    return source


def build(root: Path) -> Path:
    """Lay the package out in ``root``; returns the folder that has to be on ``sys.path``."""
    package = root / "src" / PACKAGE
    shutil.copytree(
        TEMPLATE / "src" / "{{ package }}" / "scheduler",
        package / "scheduler",
        ignore=shutil.ignore_patterns("*.jinja", "__pycache__"),
    )
    shutil.copytree(TEMPLATE / "migrations", root / "migrations")
    shutil.copytree(ROOT / "tests" / "data" / "rig", package, dirs_exist_ok=True)
    shutil.copy(ROOT / "generator" / "targcc_gen" / "cron.py", package / "scheduler" / "cron.py")
    (package / "scheduler" / "project.py").write_text(_PROJECT, encoding="utf-8")
    return root / "src"
