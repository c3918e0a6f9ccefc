"""The runs that a claimed run waited for, for its job to see."""

from __future__ import annotations

import asyncio
import json
import logging

from ...core.outage import OUTAGES, Outage
from ...jobs.following.parents import NO_PARENTS, ParentRun, Parents
from ...storage.runs.values import Claim
from ...storage.ties import parents
from ...storage.ties.tie import Tie
from ...storage.transactions import Store

log = logging.getLogger("targcc.worker.claiming.parents")


async def parents_of(store: Store, claim: Claim) -> Parents:
    """What a run waited for; of one that waited for nothing the database is not asked."""
    if not claim.ties & Tie.FOLLOWS:
        return NO_PARENTS
    outage = Outage(log, "reading what a run waited for")
    while True:
        try:
            async with store.read() as connection:
                rows = await parents.load(connection, claim.run_id)
        except OUTAGES as error:
            await asyncio.sleep(outage.failed(error).total_seconds())
        else:
            outage.over()
            return Parents(
                [
                    ParentRun(
                        row.JobName, row.Id, row.State, row.Message, json.loads(row.Data or "{}")
                    )
                    for row in rows
                ]
            )
