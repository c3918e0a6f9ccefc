"""The hooks of a process: those that its scheduler was given, and those that were found with the jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...core.errors import HookError
from ..context import JobContext
from ..result import JobResult
from .around import AroundHook, CallNext
from .events import Handler
from .marks import AROUND, check, name_of

log = logging.getLogger("targcc.jobs.hooks")


class Hooks:
    """The hooks, in the order in which they count."""

    def __init__(self) -> None:
        self._first: list[AroundHook] = []
        self._given: list[AroundHook] = []
        self._found: list[AroundHook] = []
        self._handlers: dict[str, tuple[Handler, frozenset[str]]] = {}
        self.listening = False
        """Whether the handlers are known to the database: whoever comes now is late."""
        self._missing: str | None = None

    @property
    def around(self) -> tuple[AroundHook, ...]:
        """What runs around attempts, the outermost first."""
        return (*self._first, *self._given, *self._found)

    @property
    def handlers(self) -> Mapping[str, tuple[Handler, frozenset[str]]]:
        """What hears of events and of which, by its name."""
        return self._handlers

    def give(self, hook: Callable[..., Any], kind: str) -> None:
        """Take a hook that a scheduler was given.

        Raises:
            HookError: it cannot be such a hook, there is one of its name, or the scheduler has started.
        """
        check(hook, kind)
        if kind == AROUND:
            self._given.append(hook)
            return
        if self.listening:
            raise HookError(f"{name_of(hook)}: add it before the scheduler starts")
        self._hear(hook, [kind])

    def find(self, hook: Callable[..., Any], kinds: Sequence[str]) -> None:
        """Take a marked function of the jobs package; one that is there already stays.

        Raises:
            HookError: there is another one of its name.
        """
        if AROUND in kinds and hook not in self._found:
            self._found.append(hook)
        events = [kind for kind in kinds if kind != AROUND]
        if events and self.listening:
            log.warning("%s hears of runs when the scheduler starts next", name_of(hook))
        elif events:
            self._hear(hook, events)

    def begin_with(self, hook: AroundHook) -> None:
        """Let a hook of the scheduler's own be the outermost."""
        if hook not in self._first:
            self._first.append(hook)

    def refuse(self, why: str) -> None:
        """Let every attempt fail, since hooks are missing without which it must not run."""
        self._missing = why

        async def refused(ctx: JobContext, call_next: CallNext) -> JobResult:
            del ctx, call_next
            raise HookError(why)

        self._first.append(refused)

    def places(self) -> list[tuple[str, str]]:
        """Where another process finds what runs around attempts: module and name of each.

        Raises:
            HookError: one of them cannot be found there, or some are missing.
        """
        if self._missing is not None:
            raise HookError(self._missing)
        places = [(hook.__module__, hook.__qualname__) for hook in self.around]
        for module, name in places:
            if module == "__main__" or "<" in name:
                raise HookError(
                    f"the hook {module}.{name} cannot be found by a process of its own: define it at the top of a module, best in jobs/hooks.py"
                )
        return places

    def _hear(self, handler: Handler, kinds: Iterable[str]) -> None:
        name = name_of(handler)[:200]  # the width of its column
        known, events = self._handlers.get(name, (handler, frozenset[str]()))
        if known is not handler:
            raise HookError(f"there are two handlers {name}")
        self._handlers[name] = handler, events | frozenset(kinds)
