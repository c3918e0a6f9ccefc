"""Jobs of the pairs: each records its start, then waits while its tag is held, and fails while its tag is broken."""

import asyncio
import os
from pathlib import Path

from targcc_scheduler import File, JobContext, job


async def work(ctx: JobContext, tag: str) -> None:
    """Record the start in the folder ``PAIRS``; then do as the folder's files say."""
    folder = Path(os.environ["PAIRS"])
    with (folder / "begun").open("a", encoding="utf-8") as file:
        file.write(f"{tag} {ctx.run_id} {ctx.attempt}\n")
    while (folder / f"hold {tag}").exists():
        await asyncio.sleep(0.01)
    if (folder / f"break {tag}").exists():
        raise ValueError(tag)


@job("0 3 * * *", overlap="allow", name="PairPlain")
async def plain(ctx: JobContext, tag: str = "plain") -> None:
    await work(ctx, tag)


@job("0 3 * * *", overlap="allow", name="PairUnique", unique="tag")
async def unique(ctx: JobContext, tag: str = "unique") -> None:
    await work(ctx, tag)


@job("0 3 * * *", overlap="allow", name="PairLimited", limit={"key": "tag", "running": 1})
async def limited(ctx: JobContext, tag: str = "limited") -> None:
    await work(ctx, tag)


@job(name="PairMember")
async def member(ctx: JobContext, tag: str) -> None:
    await work(ctx, tag)


@job(name="PairStep")
async def step(ctx: JobContext, tag: str) -> None:
    await work(ctx, tag)


@job("0 3 * * *", overlap="allow", name="PairParent")
async def parent(ctx: JobContext, tag: str = "parent") -> None:
    await work(ctx, tag)


@job(name="PairNext", after=[parent])
async def following(ctx: JobContext, tag: str = "continuation") -> None:
    await work(ctx, tag)


@job(name="PairFile")
async def filed(ctx: JobContext, tag: str, report: File) -> str:
    await work(ctx, tag)
    return report.read_text()


@job("0 3 * * *", overlap="allow", name="PairProcess", isolation="process")
async def isolated(ctx: JobContext, tag: str = "process") -> None:
    await work(ctx, tag)


@job("0 3 * * *", overlap="allow", name="PairCalendar", calendar="weekend")
async def working_days(ctx: JobContext, tag: str = "calendar") -> None:
    await work(ctx, tag)


@job("0 3 * * *", overlap="allow", name="PairOverride")
async def overridden(ctx: JobContext, tag: str = "override") -> None:
    await work(ctx, tag)
