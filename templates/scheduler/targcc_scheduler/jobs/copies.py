"""Two copies of the scheduler in one process: a job of a project with a vendored copy imports from the installed one, or the reverse.

Each copy has classes of its own, so neither recognises jobs and services of the other. Such a job is reported, with the import to
change.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any, NoReturn

from ..core.errors import JobError, ProjectError
from ..core.version import DISTRIBUTION
from ..project import current

_OWN = __name__.removesuffix(".jobs.copies")


def copy_of(kind: type) -> str | None:
    """The import name of the other copy of the scheduler that a class belongs to; ``None`` for this one's and all others."""
    parts = kind.__module__.split(".")
    for count in range(1, len(parts)):
        package = ".".join(parts[:count])
        version = sys.modules.get(f"{package}.core.version")
        if getattr(version, "DISTRIBUTION", None) == DISTRIBUTION:
            return None if package == _OWN else package
    return None


def refuse_mark(target: Any, mark: object) -> NoReturn:
    """Refuse a class or function that another copy's ``@job`` has marked.

    Raises:
        JobError: names both copies and the import to change.
    """
    other = copy_of(type(mark)) or type(mark).__module__
    name = getattr(target, "__qualname__", str(target))
    raise JobError(f"{name} is made a job by {other}, {_import_instead('job')}")


def check_constructor(target: Callable[..., Any]) -> None:
    """Check that a job's constructor asks for nothing that belongs to another copy.

    Raises:
        JobError: names both copies and the import to change.
    """
    if not inspect.isclass(target):
        return
    try:
        names = vars(sys.modules[target.__module__])
        kinds = typing.get_type_hints(target.__init__, names)
    except Exception:  # noqa: BLE001 - a wrong type is reported when the job is made
        return
    for parameter, kind in kinds.items():
        other = copy_of(kind) if isinstance(kind, type) else None
        if other is not None:
            asked = f"{target.__qualname__} asks for {parameter}: {kind.__name__} of {other}"
            raise JobError(f"{asked}, {_import_instead(kind.__name__)}")


def refuse_result(returned: object) -> None:
    """Refuse a result that is another copy's.

    Raises:
        JobError: it is; names both copies and the import to change.
    """
    other = copy_of(type(returned))
    if other is not None:
        kind = type(returned).__name__
        raise JobError(f"the job returned a {kind} of {other}, {_import_instead(kind)}")


def _import_instead(name: str) -> str:
    try:
        package = f"{current().package}.scheduler"
    except ProjectError:
        package = _OWN
    return f"but this process runs {_OWN}: write from {package} import {name}"
