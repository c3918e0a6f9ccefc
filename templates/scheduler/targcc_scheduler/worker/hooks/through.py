"""One attempt through its hooks, the outermost first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from ...core.errors import HookError, JobCancelled
from ...core.kept.texts import exception_line, type_name
from ...jobs.context import JobContext
from ...jobs.hooks.around import AroundHook
from ...jobs.hooks.marks import name_of
from ...jobs.result import JobResult

_STOPS = (asyncio.CancelledError, JobCancelled, GeneratorExit)
"""What a hook raises when the attempt is told to stop: no fault of the hook's."""


async def through(
    hooks: Sequence[AroundHook], ctx: JobContext, perform: Callable[[], Awaitable[JobResult]]
) -> JobResult:
    """Perform an attempt within its hooks; what ``perform`` returned, if no hook has another result.

    Args:
        hooks: The outermost first.
        ctx: The attempt.
        perform: The job itself.

    Raises:
        HookError: a hook has failed; its cause is what it raised.
        BaseException: what ``perform`` raised, whether a hook has caught it or not.
    """
    if not hooks:
        return await perform()
    return await _Passage(hooks[0], partial(through, hooks[1:], ctx, perform)).make(ctx)


class _Passage:
    """The way through one hook.

    Args:
        hook: The hook.
        within: What it is around.
    """

    def __init__(self, hook: AroundHook, within: Callable[[], Awaitable[JobResult]]) -> None:
        self._hook = hook
        self._within = within
        self._name = name_of(hook)
        self._begun = False
        self._result: JobResult | None = None
        self._error: BaseException | None = None

    async def make(self, ctx: JobContext) -> JobResult:
        try:
            said = await self._hook(ctx, self._next)
        except BaseException as error:
            if error is self._error or isinstance(error, _STOPS):
                raise
            raise HookError(f"the hook {self._name} failed: {exception_line(error)}") from error
        if said is not None:
            return self._checked(said)
        if self._error is not None:  # the hook may look at what happened, and not undo it
            raise self._error
        if self._result is None:
            raise HookError(
                f"the hook {self._name} neither awaited call_next() nor returned a JobResult"
            )
        return self._result

    async def _next(self) -> JobResult:
        if self._begun:
            raise HookError("call_next() was called a second time: an attempt runs once")
        self._begun = True
        try:
            self._result = await self._within()
        except BaseException as error:
            self._error = error
            raise
        return self._result

    def _checked(self, said: object) -> JobResult:
        if not isinstance(said, JobResult):
            raise HookError(
                f"the hook {self._name} returned a {type_name(said)}: it returns a JobResult or nothing"
            )
        return said
