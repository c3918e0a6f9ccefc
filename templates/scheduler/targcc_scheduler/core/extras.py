"""Find optional packages, and name the extra of the distribution that installs them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec

from .errors import ExtraMissing
from .version import DISTRIBUTION

_MODULES = {
    "postgresql": {"psycopg": "psycopg", "procrastinate": "procrastinate"},
    "mssql": {"mssql-python": "mssql_python"},
    "oidc": {"joserfc": "joserfc"},
    "otel": {"opentelemetry-api": "opentelemetry"},
    "secrets": {"cryptography": "cryptography"},
}
"""The packages of each extra, with the modules that show them."""


def lacks_extra(extra: str, user: str) -> str:
    """Return a sentence that names the missing packages and their extra; empty if all packages are installed.

    Args:
        extra: The extra of the scheduler's distribution.
        user: The part that needs the packages: ``PostgreSQL``.
    """
    missing = [name for name, module in _MODULES[extra].items() if not find_spec(module)]
    return missing_extra(extra, f"{user} needs {' and '.join(missing)}") if missing else ""


def require_extra(extra: str, user: str) -> None:
    """Check that the packages of an extra are installed.

    Args:
        extra: The extra of the scheduler's distribution.
        user: The part that needs the packages.

    Raises:
        ExtraMissing: A package is not installed.
    """
    if text := lacks_extra(extra, user):
        raise ExtraMissing(text)


@contextlib.contextmanager
def from_extra(extra: str, user: str) -> Iterator[None]:
    """Name the extra when an import in this block does not find its package.

    Args:
        extra: The extra of the scheduler's distribution.
        user: The part that needs the package: ``targcc serve``.

    Raises:
        ExtraMissing: The package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0].replace("_", "-")
        raise ExtraMissing(missing_extra(extra, f"{user} needs {package}")) from None


def missing_extra(extra: str, need: str) -> str:
    """Return the sentence for packages of an extra, with the ways to install them.

    Args:
        extra: The extra of the scheduler's distribution.
        need: The need: ``PostgreSQL needs psycopg``, ``SQL Server needs mssql-python``.
    """
    return (
        f"{need}, which {DISTRIBUTION}[{extra}] has: uv sync --extra {extra},"
        f" or add the extra {extra} where the application requires {DISTRIBUTION}"
    )
