"""What a project's ``services.py`` makes: the container of its services, and more."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..project import current

if TYPE_CHECKING:
    import dishka


def project_services() -> dishka.AsyncContainer | None:
    """The container that the project's ``services.py`` makes; ``None`` when it has none."""
    make: Callable[[], dishka.AsyncContainer] | None = of_project("make_container")
    return make() if make is not None else None


def of_project(name: str) -> Any:
    """What the project's ``services.py`` has by a name; ``None`` when it has none."""
    module = f"{current().package}.services"
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name not in {module, current().package}:
            raise
        return None
