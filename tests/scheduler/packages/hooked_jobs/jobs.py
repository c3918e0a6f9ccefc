"""Jobs with arguments for the project's hooks."""

# ruff: noqa: ARG001

import os

from pydantic import SecretStr
from targcc_scheduler import JobContext, JobResult, job

from .hooks import tenant


@job(retries=0)
async def report(
    ctx: JobContext, tenant: str = "", hook: str = "", key: SecretStr = SecretStr("")
) -> JobResult:
    """Async job."""
    return _for_whom(ctx)


@job(retries=0)
def plain(ctx: JobContext, tenant: str = "", hook: str = "") -> JobResult:
    """Sync job in a thread."""
    return _for_whom(ctx)


@job(retries=0, isolation="process")
async def apart(ctx: JobContext, tenant: str = "") -> JobResult:
    """Async job in a separate process."""
    return _for_whom(ctx)


@job(retries=0, isolation="process")
def plain_apart(ctx: JobContext, tenant: str = "") -> JobResult:
    """Sync job in a thread of a separate process."""
    return _for_whom(ctx)


def _for_whom(ctx: JobContext) -> JobResult:
    result = JobResult.success(f"for {tenant.get()}")
    return result.with_metadata(run=ctx.run_id, pid=os.getpid(), trace=ctx.trace)


@job(retries=1, backoff="500ms")
async def fails(hook: str = "") -> None:
    """Fail each time."""
    raise RuntimeError("the warehouse is closed")


@job(retries=0)
async def deadly() -> None:
    """Job whose end kills the node with the handler."""


@job(retries=0)
async def leaks(words: str) -> None:
    """Raise an error with a secret in its text."""
    raise RuntimeError(words)
