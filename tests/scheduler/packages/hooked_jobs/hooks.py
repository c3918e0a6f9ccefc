"""Hooks that record their calls."""

import os
import signal
from contextvars import ContextVar
from pathlib import Path

from targcc_scheduler import (
    CallNext,
    JobContext,
    JobResult,
    RunCancelled,
    RunFailed,
    RunMissed,
    RunRetrying,
    RunSkipped,
    RunSucceeded,
    around,
    on_cancelled,
    on_failed,
    on_missed,
    on_retrying,
    on_skipped,
    on_succeeded,
)

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
seen: list[object] = []
heard: list[object] = []


@around
async def outer(ctx: JobContext, call_next: CallNext) -> JobResult | None:
    """Outermost middleware; behave as the argument ``hook`` says."""
    seen.append(("outer", ctx.run_id, ctx.arguments))
    match ctx.arguments.get("hook"):
        case "raise":
            raise KeyError("no such tenant")
        case "instead":
            return JobResult.success("the flag is off")
        case "twice":
            await call_next()
            await call_next()
        case "forget":
            return None
        case "nonsense":
            await call_next()
            return "done"  # type: ignore[return-value]  # that it is refused is the test
        case "swallow":
            try:
                await call_next()
            except RuntimeError as error:
                seen.append(("swallowed", str(error)))
            return None
    result = await call_next()
    seen.append(("outer", ctx.run_id, result.ok, result.message, dict(result.metadata)))
    return None


@around
async def as_tenant(ctx: JobContext, call_next: CallNext) -> JobResult:
    """Set the tenant for the job."""
    token = tenant.set(str(ctx.arguments.get("tenant", "nobody")))
    seen.append(("as_tenant", ctx.run_id))
    try:
        return await call_next()
    finally:
        tenant.reset(token)


def _note(event: RunSucceeded | RunFailed | RunRetrying | RunCancelled) -> None:
    heard.append(event)
    if path := os.environ.get("NOTES"):
        with Path(path).open("a") as file:
            file.write(
                f"{type(event).__name__} {event.run_id} {event.attempt} {event.delivery} {event.id}\n"
            )


@on_succeeded
@on_failed
async def whatever_ended(event: RunSucceeded | RunFailed) -> None:
    """Handle two events; die or fail on the first delivery for some jobs."""
    _note(event)
    if event.delivery == 1 and event.job == "Deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    if event.delivery == 1 and event.job == "Fails":
        raise ConnectionError("the pager does not answer: hunter2-password")


@on_retrying
def tries_again(event: RunRetrying) -> None:
    """Sync handler."""
    _note(event)


@on_missed
@on_skipped
async def passed(event: RunMissed | RunSkipped) -> None:
    """Handle missed and skipped slots."""
    heard.append(event)


@on_cancelled
def cancelled(event: RunCancelled) -> None:
    """Sync handler."""
    _note(event)
