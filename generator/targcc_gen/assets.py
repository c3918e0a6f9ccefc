"""Locate templates, blueprints and examples: in the repository, or inside an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent


def _folder(name: str) -> Path:
    shipped = _PACKAGE / name
    return shipped if shipped.exists() else _CHECKOUT / name


def project_template() -> Path:
    """Return the copier template of a generated project."""
    return _folder("templates") / "project"


def changelog() -> Path:
    """Return the path of the changelog."""
    return _folder("CHANGELOG.md")


def blueprints() -> Path:
    """Return the folder with a sub-folder for each blueprint."""
    return _folder("blueprints")


def examples() -> Path:
    """Return the folder of the specs and legacy exports that newcomers can run."""
    return _folder("examples")


def scheduler_distribution() -> Path:
    """Return the folder of `targcc-scheduler`'s pyproject.toml, README.md and LICENSE."""
    return _folder("templates") / "scheduler"


ERROR_CODES = _PACKAGE / "error_codes.toml"
"""The texts of the codes of errors."""
