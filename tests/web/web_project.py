"""A project to look at: the scheduler package of the template beside a handful of jobs, as generation would lay it out."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "templates" / "project"
PACKAGE = "web_jobs"

_PROJECT = '''"""Rendered from targcc.yaml."""

NAME = "web-jobs"
PACKAGE = "web_jobs"
DESCRIPTION = "Jobs for the tests of the web side"
TIMEZONE = "Europe/Berlin"
DATABASE_URL = "sqlite:///web_jobs.db"
QUEUES: dict[str, int] = {"default": 4, "critical": 2}
QUEUE = "default"
RETRIES: int = 2
BACKOFF = "30s"
TIMEOUT: str | None = None
GENERATOR_VERSION = "0.0.0"
'''

_MAIN = '''"""The web app."""

from fastapi import FastAPI

from .scheduler.app import scheduler_router

app = FastAPI(title="web-jobs")
app.include_router(scheduler_router)
'''


def build(root: Path) -> Path:
    """Lay the project out in ``root``; the folder to put on ``sys.path``."""
    package = root / "src" / PACKAGE
    shutil.copytree(
        TEMPLATE / "src" / "{{ package }}" / "scheduler",
        package / "scheduler",
        ignore=shutil.ignore_patterns("*.jinja", "__pycache__"),
    )
    shutil.copytree(TEMPLATE / "migrations", root / "migrations")
    shutil.copytree(ROOT / "tests" / "data" / "web" / "jobs", package / "jobs")
    shutil.copy(ROOT / "generator" / "targcc_gen" / "cron.py", package / "scheduler" / "cron.py")
    (package / "scheduler" / "project.py").write_text(_PROJECT, encoding="utf-8")
    (package / "__init__.py").write_text('"""Jobs."""\n', encoding="utf-8")
    (package / "main.py").write_text(_MAIN, encoding="utf-8")
    return root / "src"
