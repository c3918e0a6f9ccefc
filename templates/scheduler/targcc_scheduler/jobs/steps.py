"""Results of durable steps, as JSON and back."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import pydantic
from pydantic_core import from_json, to_json

from ..core.errors import StepError
from ..core.kept.texts import text_of, type_name


def is_async(f: Callable[..., Any]) -> bool:
    """Whether calling ``f`` gives something to await."""
    while isinstance(f, functools.partial):
        f = f.func
    return inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(type(f).__call__)


def encode(name: str, f: Callable[..., Any], result: Any) -> tuple[str, Any]:
    """The result as JSON, and as :func:`decode` reads it back."""
    adapter = _adapter(f)
    try:
        encoded = (adapter.dump_json(result) if adapter else to_json(result)).decode()
    except Exception as error:
        why = text_of(error)
        raise StepError(f"the result of step {name!r} cannot be kept as JSON: {why}") from error
    decoded = decode(name, f, encoded)
    if adapter is None and not _same(decoded, result):
        raise StepError(
            f"step {name!r} returned {type_name(result)}, which comes back from JSON as something else: "
            f"give {getattr(f, '__qualname__', f)!s} a return type (a dataclass, a pydantic model, list[…], datetime, …)"
        )
    return encoded, decoded


def _same(decoded: Any, result: Any) -> bool:
    """Whether they are equal; what cannot be compared is of a class that JSON does not have."""
    given = list(result) if isinstance(result, tuple) else result
    try:
        return bool(decoded == given)
    except Exception:  # noqa: BLE001 - the class's own code may raise anything
        return False


def decode(name: str, f: Callable[..., Any], encoded: str) -> Any:
    """A stored result, read as the return type that ``f`` declares."""
    adapter = _adapter(f)
    try:
        return adapter.validate_json(encoded) if adapter else from_json(encoded)
    except pydantic.ValidationError as error:
        raise StepError(f"what step {name!r} kept does not fit its return type: {error}") from error


def _adapter(f: Callable[..., Any]) -> pydantic.TypeAdapter[Any] | None:
    """The adapter for the declared return type of ``f``; ``None`` when there is none that can be stored."""
    while isinstance(f, functools.partial):
        f = f.func
    f = inspect.unwrap(f)
    try:
        kind = typing.get_type_hints(f).get("return", Any)
        return None if kind is Any else pydantic.TypeAdapter(kind)
    except (NameError, TypeError, AttributeError, pydantic.PydanticUserError):
        return None
