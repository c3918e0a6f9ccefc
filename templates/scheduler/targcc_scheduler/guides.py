"""The guides for people who write and operate jobs: Markdown files of this package, with the project's own names."""

from __future__ import annotations

from pathlib import Path

from .core.errors import ProjectError
from .project import current

GUIDES = {
    "jobs": ("JOB_DEVELOPMENT_GUIDE.md", "Writing, testing and operating jobs"),
    "migration": ("MIGRATION_GUIDE.md", "Coming from c_Job and TaskManager, or from Hangfire"),
    "security": ("security.md", "What the scheduler protects, and how"),
}
"""By name: the file, and its subject."""

_FOLDER = Path(__file__).resolve().parent / "docs"
_NOTICE = "<!-- Managed by targcc-gen"


def guide(name: str) -> str:
    """Return a guide as Markdown. Its examples are those of this project.

    Args:
        name: One of :data:`GUIDES`.
    """
    text = (_FOLDER / GUIDES[name][0]).read_text(encoding="utf-8")
    if text.startswith(_NOTICE):
        text = text.partition("\n")[2].lstrip("\n")
    try:
        project = current()
    except ProjectError:
        return text
    return text.replace('"acme-jobs"', f'"{project.name}"').replace("acme_jobs", project.package)
