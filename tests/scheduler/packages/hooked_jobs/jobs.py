"""The jobs; what they are given is for their hooks."""

# ruff: noqa: ARG001

import os

from pydantic import SecretStr
from targcc_scheduler import JobContext, JobResult, job

from .hooks import tenant


@job(retries=0)
async def report(
    ctx: JobContext, tenant: str = "", hook: str = "", key: SecretStr = SecretStr("")
) -> JobResult:
    """An async one."""
    return _for_whom(ctx)


@job(retries=0)
def plain(ctx: JobContext, tenant: str = "", hook: str = "") -> JobResult:
    """A plain one, in a thread."""
    return _for_whom(ctx)


@job(retries=0, isolation="process")
async def apart(ctx: JobContext, tenant: str = "") -> JobResult:
    """In a process of its own."""
    return _for_whom(ctx)


@job(retries=0, isolation="process")
def plain_apart(ctx: JobContext, tenant: str = "") -> JobResult:
    """In a thread of a process of its own."""
    return _for_whom(ctx)


def _for_whom(ctx: JobContext) -> JobResult:
    said = JobResult.success(f"for {tenant.get()}")
    return said.with_metadata(run=ctx.run_id, pid=os.getpid(), trace=ctx.trace)


@job(retries=1, backoff="500ms")
async def fails(hook: str = "") -> None:
    """Fails each time."""
    raise RuntimeError("the warehouse is closed")


@job(retries=0)
async def deadly() -> None:
    """One whose end kills who hears of it."""


@job(retries=0)
async def leaks(words: str) -> None:
    """Says what it should not."""
    raise RuntimeError(words)
