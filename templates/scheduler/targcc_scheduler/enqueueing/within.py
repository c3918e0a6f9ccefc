"""An operation in the transaction of an application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from ..engine.later import SubmitsLater
from ..engine.port import Engine, Submission
from ..operations import Call
from ..storage.theirs.borrow import borrowed
from ..storage.theirs.outcome import after_commit

T = TypeVar("T")


async def within(
    theirs: Any,
    operation: Callable[[Call], Awaitable[T]],
    *,
    call_on: Callable[[AsyncConnection], Call],
    submit: Callable[[Sequence[Submission]], object],
) -> T:
    """Do an operation in a transaction that its owner commits.

    Args:
        theirs: The application's session or connection.
        operation: One of :mod:`~..operations`.
        call_on: Makes the call for a connection.
        submit: Submits runs after the commit, where the engine cannot do so on this connection.
    """
    async with borrowed(theirs) as mine:
        call = call_on(mine)
        if await call.engine.submits_on(mine):
            return await operation(call)
        later = SubmitsLater(call.engine)
        result = await operation(replace(call, engine=cast("Engine", later)))
        after_commit(theirs, lambda: submit(later.waiting))  # a connection does not say so
        return result
