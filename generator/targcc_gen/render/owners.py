"""Who owns which file of a generated project, by its path."""

from __future__ import annotations

from targcc_gen.render.tree import Owner

# What people write their own things into. `{package}` is the project's import name; a name ending in "/" is a folder.
_YOURS = (
    ".dockerignore",
    ".env.example",
    ".gitattributes",
    ".gitignore",
    "Dockerfile",
    "README.md",
    "compose.yaml",
    "pyproject.toml",
    "requirements.lock",
    "src/{package}/__init__.py",
    "src/{package}/jobs/",
    "src/{package}/main.py",
    "src/{package}/py.typed",
    "src/{package}/services.py",
    "targcc.yaml",
    "tests/conftest.py",
    "tests/jobs/",
)

# What a project would otherwise get only once, or where a conflict would be in the way of an upgrade of the code:
# dependencies, settings of tools, containers, CI. Jobs and tests are left alone.
_INHERITED = (
    ".dockerignore",
    ".env.example",
    ".gitattributes",
    ".github/workflows/ci.yml",
    ".gitignore",
    ".pre-commit-config.yaml",
    "Dockerfile",
    "README.md",
    "compose.yaml",
    "pyproject.toml",
    "requirements.lock",
    "src/{package}/main.py",
    "src/{package}/services.py",
)

_SUMMARIES = {
    "src/{package}/main.py": "the FastAPI app",
    "src/{package}/services.py": "the services that jobs use",
    "src/{package}/scheduler.py": "settings from targcc.yaml; the scheduler itself is the dependency targcc-scheduler",
    "targcc.yaml": "jobs and settings of this project",
}


def owner_of(path: str, package: str) -> Owner:
    """The owner of a file at `path` of a project of its own."""
    for pattern in _YOURS:
        place = pattern.format(package=package)
        if path == place or (place.endswith("/") and path.startswith(place)):
            return Owner.SCAFFOLD
    return Owner.MANAGED


def is_inherited(path: str, package: str) -> bool:
    """Whether a file follows the generator where that can be merged."""
    return path in {pattern.format(package=package) for pattern in _INHERITED}


def summary_of(path: str, package: str) -> str:
    """A few words about a file that newcomers should know of, or nothing."""
    if path.startswith("migrations/scheduler."):
        return "the scheduler's tables, for review"
    for pattern, summary in _SUMMARIES.items():
        if path == pattern.format(package=package):
            return summary
    return ""
