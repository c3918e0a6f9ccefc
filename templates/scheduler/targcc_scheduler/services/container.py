"""Objects from a project's ``services.py``: the container of its services, and more."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..project import current

if TYPE_CHECKING:
    import dishka


def project_services() -> dishka.AsyncContainer | None:
    """Return the container from ``make_container`` in the project's ``services.py``; ``None`` without the function."""
    make: Callable[[], dishka.AsyncContainer] | None = of_project("make_container")
    return make() if make is not None else None


def of_project(name: str) -> Any:
    """Return the attribute ``name`` of the project's ``services.py``; ``None`` without the attribute or the module."""
    module = f"{current().package}.services"
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name not in {module, current().package}:
            raise
        return None
