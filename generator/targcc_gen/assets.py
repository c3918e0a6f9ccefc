"""Locate templates, blueprints and examples: in the repository, or inside an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent


def _folder(name: str) -> Path:
    shipped = _PACKAGE / name
    return shipped if shipped.exists() else _CHECKOUT / name


def project_template() -> Path:
    """The copier template of a generated project."""
    return _folder("templates") / "project"


def changelog() -> Path:
    """What each release brought."""
    return _folder("CHANGELOG.md")


def blueprints() -> Path:
    """The folder with one sub-folder for each blueprint."""
    return _folder("blueprints")


def examples() -> Path:
    """The folder with the specs and legacy exports that newcomers can run."""
    return _folder("examples")


def scheduler_distribution() -> Path:
    """The folder with what describes the distribution `targcc-scheduler`: pyproject.toml, README.md, LICENSE."""
    return _folder("templates") / "scheduler"
