"""The container that a project's ``services.py`` makes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..project import current

if TYPE_CHECKING:
    import dishka


def project_services() -> dishka.AsyncContainer | None:
    """The container that the project's ``services.py`` makes; ``None`` when it has none."""
    name = f"{current().package}.services"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in {name, current().package}:
            raise
        return None
    make: Callable[[], dishka.AsyncContainer] | None = getattr(module, "make_container", None)
    return make() if make is not None else None
