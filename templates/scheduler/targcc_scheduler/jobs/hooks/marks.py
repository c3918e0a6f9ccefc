"""Marks on functions: what a project's hook is for. Plain data."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from ...core.errors import HookError

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__targcc_hook__"
AROUND = "around"


def marked(function: F, kind: str) -> F:
    """The same function, marked: the discovery of jobs finds it.

    Raises:
        HookError: it cannot be such a hook.
    """
    check(function, kind)
    vars(function).setdefault(MARK, {})[kind] = None
    return function


def kinds_of(value: object) -> tuple[str, ...]:
    """What a value of a module is marked as; nothing, if it is no function."""
    return tuple(vars(value).get(MARK, ())) if inspect.isfunction(value) else ()


def check(function: object, kind: str) -> None:
    """Refuse what cannot be such a hook.

    Raises:
        HookError: it cannot.
    """
    if not inspect.isfunction(function):
        raise HookError(f"a hook is a function, not {function!r}")
    if kind == AROUND and not inspect.iscoroutinefunction(function):
        raise HookError(f"{name_of(function)}: a hook around attempts is an async function")
    wanted = 2 if kind == AROUND else 1
    try:
        inspect.signature(function).bind(*range(wanted))
    except TypeError:
        takes = "the context and call_next" if kind == AROUND else "the event"
        raise HookError(f"{name_of(function)}: a hook takes {takes}") from None


def name_of(function: Callable[..., Any]) -> str:
    """What a hook is called, for people and from one start to the next."""
    return f"{function.__module__}.{function.__qualname__}"
