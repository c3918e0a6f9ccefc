"""The executor: claims runs, runs their jobs, settles them. It stays on the scheduler's loop; jobs run elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import psutil

from ..core.errors import ArgumentsError
from ..core.loop_thread import stack_of
from ..core.outage import OUTAGES
from ..core.states import RunState
from ..engine.port import MakeOffer
from ..jobs.context import StopReason
from ..jobs.definition import JobDefinition
from ..storage.runs import stage
from ..storage.runs.claim import claim as claim_runs
from ..storage.runs.values import POISON_AFTER, Claim, ClaimTerms, Offer, Settlement
from .next_state import AttemptResult, Refused, next_state
from .node_services import NodeServices
from .recorder import RecordWriter, RunRecorder
from .runner import Invocation, InvocationResult, JobLoop
from .running_attempt import RunningAttempt, joined, on_job
from .settlement_writer import SettlementWriter

log = logging.getLogger("targcc.worker.executor")

_LAST_CHANCE_SECONDS = 2.0
"""How long a coroutine may take to end after ``CancelledError``."""


class Executor:
    """Claims runs, runs their jobs and settles them; what an engine calls a worker.

    Args:
        services: Database, engine, clock and settings.
        definitions: The jobs; may grow while it works.
        jobs: Where jobs run.
        records: Takes what runs record to the database.
        server_name: The name of this node, for the history.
        look_again: Finds jobs whose files were added while the process runs.
        settled: Hears of each run that this node has settled.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        *,
        jobs: JobLoop,
        records: RecordWriter,
        server_name: str,
        look_again: Callable[[], None],
        settled: Callable[[Settlement], None],
    ) -> None:
        self.server_id = ""
        self._store = services.store
        self._clock = services.clock
        self._settings = services.settings
        self._definitions = definitions
        self._jobs = jobs
        self._records = records
        self._server_name = server_name
        self._look_again = look_again
        self._settled = settled
        self._writer = SettlementWriter(
            services.store, services.engine, services.clock, lambda: bool(self._running)
        )
        self._process = psutil.Process()
        self._running: dict[int, RunningAttempt] = {}
        self._poison: set[int] = set()
        self._doubts: set[asyncio.Task[None]] = set()
        self._stopping: str | None = None

    # What an engine calls.

    async def claim(self, offer: MakeOffer) -> list[Claim]:
        """Take what an engine offers; see :class:`~..engine.port.Worker`."""
        if self._doubts:
            await asyncio.wait(self._doubts)  # else they might return a run that is claimed now
        claims: list[Claim] = []
        try:
            async with self._store.write() as connection:
                offered = await offer(connection)
                claims = await claim_runs(connection, offered, self._terms(offered))
        except OUTAGES:
            for claim in claims:  # the commit may have come through all the same
                task = asyncio.create_task(self._return(claim))
                self._doubts.add(task)
                task.add_done_callback(self._doubts.discard)
            raise
        self._poison.update(item.run_id for item in claims if item.lost_workers >= POISON_AFTER)
        return claims

    async def stage(self) -> None:
        """Make due runs ``enqueued``; see :class:`~..engine.port.Worker`."""
        async with self._store.write_at_once() as connection:
            await stage.stage_due(connection, self._clock.now())

    async def due(self, queues: Collection[str]) -> tuple[bool, datetime | None]:
        """Whether there is work; see :class:`~.engine.port.Worker`."""
        async with self._store.read() as connection:
            return await stage.waiting_work(connection, queues, self._clock.now())

    async def perform(self, claim: Claim) -> None:
        """Run the job and settle the run; see :class:`~.engine.port.Worker`."""
        definition = self._definitions.get(claim.job_name)
        if definition is None:
            await asyncio.to_thread(self._look_again)
            definition = self._definitions.get(claim.job_name)
        try:
            await self._perform(claim, definition)
        except Exception as error:
            log.exception("run %d (%s) met a fault of the scheduler", claim.run_id, claim.job_name)
            await self._refuse(claim, definition, f"a fault of the scheduler: {error!r}")
        finally:
            self._poison.discard(claim.run_id)

    async def _perform(self, claim: Claim, definition: JobDefinition | None) -> None:
        if definition is None:
            message = (
                f"no job is called {claim.job_name!r} on this server: it was renamed or removed"
            )
            await self._refuse(claim, None, message)
            return
        try:
            arguments = definition.signature.load(claim.arguments_json)
        except ArgumentsError as error:
            await self._refuse(
                claim, definition, f"the arguments do not fit the job: {joined(error)}"
            )
            return
        attempt = RunningAttempt(claim, definition, RunRecorder(claim, self._records))
        self._running[claim.run_id] = attempt
        try:
            ended = await self._run(attempt, arguments)
        finally:
            del self._running[claim.run_id]
        await self._settle(attempt, ended)

    # What the node calls.

    def cancel(self, run_id: int, by: str) -> None:
        """Tell a run that somebody wants it cancelled; nothing happens if it does not run here."""
        attempt = self._running.get(run_id)
        if attempt is not None:
            attempt.tell(StopReason.CANCELLED, f"cancelled by {by}")

    def lose_all(self) -> None:
        """Tell every run to stop: this node was declared lost, and they belong to others now."""
        for attempt in self._running.values():
            attempt.tell(StopReason.LOST, "another node has taken the run over")

    def shut_down(self, reason: str) -> None:
        """Tell every run to stop, those that begin from now on too; what does not end in time is released."""
        self._stopping = reason
        for attempt in self._running.values():
            attempt.tell(StopReason.SHUTDOWN, reason)

    async def close(self) -> None:
        """Settle what is left; call it when the engine has returned."""
        await self._writer.close()

    async def _return(self, claim: Claim) -> None:
        """Return a run whose claim may or may not have been committed: if it was, it is enqueued again."""
        note = "released: the database became unavailable during the claim"
        waits = Settlement(claim=claim, state=RunState.ENQUEUED, note=note, counts=False)
        await self._writer.settle(waits)

    # One attempt.

    async def _run(self, attempt: RunningAttempt, arguments: Mapping[str, Any]) -> AttemptResult:
        if self._stopping is not None:  # claimed just before: it goes back as it came
            return AttemptResult(
                ended_at=self._clock.now(),
                stopped=StopReason.SHUTDOWN,
                stop_message=self._stopping,
                noticed=True,
            )
        here = asyncio.get_running_loop()
        started, memory = time.monotonic(), self._memory()
        invocation = self._jobs.begin(
            attempt.definition,
            attempt.ctx,
            arguments,
            on_begin=lambda: on_job(here, attempt.begun),
            on_end=lambda finished: on_job(here, attempt.end, finished),
        )
        await asyncio.wait((attempt.ended, attempt.told), return_when=asyncio.FIRST_COMPLETED)
        stopped = attempt.ended.done() or await self._stop(attempt, invocation)
        finished = attempt.ended.result() if attempt.ended.done() else InvocationResult()
        return AttemptResult(
            ended_at=self._clock.now(),
            returned=finished.returned,
            error=finished.error,
            stopped=attempt.ctx.stop_reason,
            stop_message=attempt.ctx.cancel_reason or "",
            noticed=attempt.ctx.noticed or attempt.forced,
            abandoned=not stopped,
            duration_ms=round((time.monotonic() - started) * 1000),
            cpu_ms=finished.cpu_ms,
            memory_mb=max(self._memory() - memory, 0) // 2**20,
        )

    async def _stop(self, attempt: RunningAttempt, invocation: Invocation) -> bool:
        """Wait the grace of a job that was told to stop, then stop it by force; ``False`` when it goes on all the same."""
        shutdown = attempt.ctx.stop_reason is StopReason.SHUTDOWN
        grace = self._settings.shutdown_grace if shutdown else self._settings.cancel_grace
        await asyncio.wait((attempt.ended,), timeout=grace)
        if attempt.ended.done():
            return True
        attempt.forced = True
        invocation.stop()
        thread = invocation.job_thread
        await asyncio.wait((attempt.ended,), timeout=_LAST_CHANCE_SECONDS)
        if attempt.ended.done() and not (thread is not None and thread.is_alive()):
            return True
        log.error(
            "run %d (%s): %s; its %s cannot be stopped and is abandoned:\n%s",
            attempt.claim.run_id,
            attempt.claim.job_name,
            attempt.ctx.cancel_reason or "",
            f"thread {thread.name!r}" if thread is not None else "coroutine",
            stack_of(thread if thread is not None else self._jobs.thread.thread),
        )
        return False

    async def _settle(self, attempt: RunningAttempt, ended: AttemptResult) -> None:
        lines, progress = attempt.recorder.close()
        claim = attempt.claim
        if ended.stopped is StopReason.LOST:
            log.warning("run %d (%s) was lost to another node", claim.run_id, claim.job_name)
            return
        settlement = next_state(ended, claim, attempt.definition, server=self._server_name)
        await self._finish(replace(settlement, log_lines=lines, progress=progress), ended)

    async def _refuse(self, claim: Claim, definition: JobDefinition | None, message: str) -> None:
        ended = AttemptResult(ended_at=self._clock.now(), error=Refused(message), final=True)
        await self._finish(next_state(ended, claim, definition, server=self._server_name), ended)

    async def _finish(self, settlement: Settlement, ended: AttemptResult) -> None:
        claim = settlement.claim
        if not await self._writer.settle(settlement):
            log.warning("run %d (%s) was lost to another node", claim.run_id, claim.job_name)
            return
        log.log(
            logging.WARNING if settlement.state in _UNWELCOME else logging.INFO,
            "run %d (%s) %s after %d ms: %s",
            claim.run_id,
            claim.job_name,
            settlement.state,
            ended.duration_ms,
            settlement.message,
            extra={"job": claim.job_name, "run_id": claim.run_id, "attempt": claim.attempt},
        )
        self._settled(settlement)

    def _terms(self, offer: Offer) -> ClaimTerms:
        names = {run.job_name for run in offer.runs} if offer.runs else None
        return ClaimTerms(
            server_id=self.server_id,
            limits=limits_of(self._definitions, names),
            poison_here=bool(self._poison),
            now=self._clock.now(),
        )

    def _memory(self) -> int:
        return int(self._process.memory_info().rss)


def limits_of(
    definitions: Mapping[str, JobDefinition], names: Collection[str] | None = None
) -> dict[str, int]:
    """How many runs may be running at once of each job that has a limit."""
    wanted = list(definitions) if names is None else names
    known = [definitions[name] for name in wanted if name in definitions]
    return {job.name: job.limit for job in known if job.limit is not None}


_UNWELCOME = {RunState.FAILED, RunState.RETRYING}
