"""A test message through each channel, so that people know that alerts would reach them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..jobs.definition import JobDefinition
from .dispatcher import AlertSender
from .message import Notice, one_line, pages_of
from .policy import Target
from .told import grouped


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one test message.

    Args:
        target: To whom, and the way it went.
        reason: Why it did not go out; ``None``: it did.
    """

    target: Target
    reason: str | None


async def try_out(
    sender: AlertSender, job: JobDefinition | None, channels: Collection[str], by: str
) -> Sequence[Tried]:
    """Send a message that is marked as a test, once, to everybody whom alerts could reach.

    Args:
        sender: Knows rules and channels.
        job: The job whose alerts are meant; ``None``: those of the project.
        channels: Only by these; none: by all.
        by: Who asked for it.
    """
    now = sender.clock.now()
    if job is None:
        targets = sender.everybody()
    else:
        rule = await sender.rule(job)
        targets = sender.recipients(rule, now) if rule is not None else ()
    wanted = [one for one in grouped(targets) if not channels or one.channel in channels]
    name = job.name if job is not None else "Test"
    shown = job.display_name if job is not None else "every job that names nobody"
    notice = Notice(
        kind="test",
        job=name,
        run_id=None,
        title=one_line(f"[Test] This is how an alert about {shown} arrives"),
        facts=(("Job", name), ("Asked for by", by)),
        message="Nothing has happened: somebody tries whether alerts arrive.",
        details="",
        url=sender.page,
        links=pages_of(sender.page, job=job.name if job is not None else None),
        thread="test",
        at=now,
    )
    reasons = await asyncio.gather(
        *(sender.courier.bring(notice, target, tries=1) for target in wanted)
    )
    return [
        Tried(target, reason and reason.partition(": ")[2])
        for target, reason in zip(wanted, reasons, strict=True)
    ]
