"""The executor: takes a run, runs the job, settles the run. It stays on the scheduler's home loop; jobs run elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import psutil
from sqlalchemy.ext.asyncio import AsyncConnection

from ..alerts.events import AlertEvent
from ..core.clock import Clock
from ..core.errors import ArgumentsError
from ..core.loop_thread import stack_of
from ..core.outage import OUTAGES
from ..core.states import RunState
from ..engine.port import Engine
from ..jobs.context import StopReason
from ..jobs.definition import JobDefinition
from ..settings import Settings
from ..storage import nodes
from ..storage.runs import claim as claim_rows
from ..storage.runs import stage, values
from ..storage.transactions import Store
from .next_state import AttemptResult, Refused, next_state
from .recorder import RecordWriter, RunRecorder
from .runner import Invocation, InvocationResult, JobLoop
from .running_attempt import RunningAttempt, joined, on_job
from .settlement_writer import SettlementWriter

log = logging.getLogger("targcc.worker.executor")

_LAST_CHANCE_SECONDS = 2.0
"""How long a coroutine may take to end after ``CancelledError``."""


class Executor:
    """Runs jobs and settles their runs; what an engine calls a worker.

    Args:
        store: The database.
        engine: Gets runs that go on.
        definitions: The jobs.
        clock: Tells the time.
        settings: Graces.
        jobs: Where jobs run.
        journals: Takes what runs note to the database.
        look_again: Finds jobs whose files were added while the process runs.
        notify: Hears of results.
        completed: Hears which job has ended.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        definitions: Mapping[str, JobDefinition],
        clock: Clock,
        settings: Settings,
        *,
        jobs: JobLoop,
        journals: RecordWriter,
        server_name: str,
        look_again: Callable[[], None],
        notify: Callable[[AlertEvent], None],
        completed: Callable[[str], None],
    ) -> None:
        self.server_id = ""
        self.held: dict[int, RunningAttempt] = {}
        self._store = store
        self._definitions = definitions
        self._clock = clock
        self._settings = settings
        self._jobs = jobs
        self._journals = journals
        self._server_name = server_name
        self._look_again = look_again
        self._notify = notify
        self._completed = completed
        self._settler = SettlementWriter(store, engine, clock)
        self._process = psutil.Process()
        self._stopping: str | None = None
        self._suspects: set[int] = set()
        self._doubts: set[asyncio.Task[None]] = set()

    # What an engine calls.

    async def claim(self, wanted: Mapping[str, int]) -> list[values.Claim]:
        """Take the next runs of each queue; see :class:`~.engine.port.Worker`."""

        async def take(connection: AsyncConnection) -> list[values.Claim]:
            if not await nodes.exists(connection, self.server_id):
                return []  # taken for dead: the next heartbeat finds out, and registers again
            return await claim_rows.claim(
                connection,
                server_id=self.server_id,
                wanted=wanted,
                limits=self._limits(self._definitions.keys()),
                suspect_is_held=bool(self._suspects),
                now=self._clock.now(),
            )

        return await self._claim(take)

    async def claim_offered(
        self, offer: Callable[[AsyncConnection], Awaitable[Sequence[values.Offer]]]
    ) -> list[values.Claim]:
        """Take the runs that an engine offers; see :class:`~.engine.port.Worker`."""

        async def take(connection: AsyncConnection) -> list[values.Claim]:
            offers = await offer(connection)
            if not offers:
                return []
            return await claim_rows.claim_offered(
                connection,
                offers,
                server_id=self.server_id,
                limits=self._limits({item.job_name for item in offers}),
                suspect_is_held=bool(self._suspects),
                now=self._clock.now(),
            )

        return await self._claim(take)

    async def due(self, queues: Collection[str]) -> tuple[bool, datetime | None]:
        """Whether there is work; see :class:`~.engine.port.Worker`."""
        async with self._store.read() as connection:
            return await stage.waiting_work(connection, queues, self._clock.now())

    async def perform(self, claim: values.Claim) -> None:
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
            self._suspects.discard(claim.run_id)

    async def _perform(self, claim: values.Claim, definition: JobDefinition | None) -> None:
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
        held = RunningAttempt(claim, definition, RunRecorder(claim, self._journals))
        self.held[claim.run_id] = held
        try:
            ending = await self._run(held, arguments)
        finally:
            del self.held[claim.run_id]
        await self._settle(held, ending)

    # What the node calls.

    def cancel(self, run_id: int, by: str) -> None:
        """Tell a run that somebody wants it cancelled; nothing happens if this node does not hold it."""
        held = self.held.get(run_id)
        if held is not None:
            held.tell(StopReason.CANCELLED, f"cancelled by {by}")

    def abandon_all(self) -> None:
        """Tell every run to stop: this node was taken for dead, and they belong to others now."""
        for held in self.held.values():
            held.tell(StopReason.LOST, "another node has taken the run over")

    def shut_down(self, reason: str) -> None:
        """Tell every run to stop, those that begin from now on too; what does not end in time is handed back."""
        self._stopping = reason
        for held in self.held.values():
            held.tell(StopReason.SHUTDOWN, reason)

    async def close(self) -> None:
        """Settle what is left; call it when the engine has returned."""
        await self._settler.close()

    # Claiming.

    async def _claim(
        self, take: Callable[[AsyncConnection], Awaitable[list[values.Claim]]]
    ) -> list[values.Claim]:
        """One transaction that takes runs."""
        if self._doubts:
            await asyncio.wait(self._doubts)  # else they might take a run back that is claimed now
        claims: list[values.Claim] = []
        try:
            async with self._store.write() as connection:
                claims = await take(connection)
        except OUTAGES:
            for claim in claims:  # the commit may have come through all the same
                task = asyncio.create_task(self._give_back(claim))
                self._doubts.add(task)
                task.add_done_callback(self._doubts.discard)
            raise
        self._suspects.update(
            item.run_id for item in claims if item.lost_workers >= values.POISON_AFTER
        )
        return claims

    async def _give_back(self, claim: values.Claim) -> None:
        """Nobody performs a run whose claim was not answered: if it was taken, it waits again."""
        note = "handed back: the database went away during the claim"
        waits = values.Settlement(claim=claim, state=RunState.ENQUEUED, note=note, counts=False)
        await self._settler.settle(waits, [], None, release=False, alone=True)

    # One attempt.

    async def _run(self, held: RunningAttempt, arguments: Mapping[str, Any]) -> AttemptResult:
        if self._stopping is not None:  # claimed just before: it goes back as it came
            return AttemptResult(
                ended_at=self._clock.now(),
                stopped=StopReason.SHUTDOWN,
                stop_message=self._stopping,
                noticed=True,
            )
        home = asyncio.get_running_loop()
        started, memory = time.monotonic(), self._memory()
        body = self._jobs.begin(
            held.definition,
            held.ctx,
            arguments,
            on_begin=lambda: on_job(home, held.begun),
            on_end=lambda finished: on_job(home, held.end, finished),
        )
        await asyncio.wait((held.ended, held.told), return_when=asyncio.FIRST_COMPLETED)
        stopped = held.ended.done() or await self._stop(held, body)
        finished = held.ended.result() if held.ended.done() else InvocationResult()
        return AttemptResult(
            ended_at=self._clock.now(),
            returned=finished.returned,
            error=finished.error,
            stopped=held.ctx.stop_reason,
            stop_message=held.ctx.cancel_message,
            noticed=held.ctx.noticed or held.forced,
            abandoned=not stopped,
            duration_ms=round((time.monotonic() - started) * 1000),
            cpu_ms=finished.cpu_ms,
            memory_mb=max(self._memory() - memory, 0) // 2**20,
        )

    async def _stop(self, held: RunningAttempt, body: Invocation) -> bool:
        """Wait the grace of a job that was told to stop, then stop it by force; ``False`` when it goes on all the same."""
        shutdown = held.ctx.stop_reason is StopReason.SHUTDOWN
        grace = self._settings.shutdown_grace if shutdown else self._settings.cancel_grace
        await asyncio.wait((held.ended,), timeout=grace)
        if held.ended.done():
            return True
        held.forced = True
        body.stop()
        thread = body.job_thread
        await asyncio.wait((held.ended,), timeout=_LAST_CHANCE_SECONDS)
        if held.ended.done() and not (thread is not None and thread.is_alive()):
            return True
        log.error(
            "run %d (%s): %s; its %s cannot be stopped and is abandoned:\n%s",
            held.claim.run_id,
            held.claim.job_name,
            held.ctx.cancel_message,
            f"thread {thread.name!r}" if thread is not None else "coroutine",
            stack_of(thread if thread is not None else self._jobs.thread.thread),
        )
        return False

    async def _settle(self, held: RunningAttempt, ending: AttemptResult) -> None:
        lines, progress = held.journal.close()
        if ending.stopped is StopReason.LOST:
            log.warning(
                "run %d (%s) was lost to another node", held.claim.run_id, held.claim.job_name
            )
            return
        settlement = next_state(ending, held.claim, held.definition, server=self._server_name)
        await self._finish(settlement, held.definition, ending, lines, progress)

    async def _refuse(
        self, claim: values.Claim, definition: JobDefinition | None, message: str
    ) -> None:
        ending = AttemptResult(ended_at=self._clock.now(), error=Refused(message), final=True)
        settlement = next_state(ending, claim, definition, server=self._server_name)
        await self._finish(settlement, definition, ending, [], None)

    async def _finish(
        self,
        settlement: values.Settlement,
        definition: JobDefinition | None,
        ending: AttemptResult,
        lines: Sequence[Mapping[str, Any]],
        progress: tuple[float, float | None] | None,
    ) -> None:
        claim = settlement.claim
        limited = definition is not None and definition.limit is not None
        if not await self._settler.settle(
            settlement, lines, progress, release=limited, alone=not self.held
        ):
            log.warning("run %d (%s) was lost to another node", claim.run_id, claim.job_name)
            return
        level = logging.WARNING if settlement.state in _UNWELCOME else logging.INFO
        log.log(
            level,
            "run %d (%s) %s after %d ms: %s",
            claim.run_id,
            claim.job_name,
            settlement.state,
            ending.duration_ms,
            settlement.message,
            extra={"job": claim.job_name, "run_id": claim.run_id, "attempt": claim.attempt},
        )
        self._completed(claim.job_name)
        if definition is not None and (event := _event(settlement, definition)) is not None:
            self._notify(event)

    def _limits(self, names: Collection[str]) -> dict[str, int]:
        """The limits of those of the jobs that have one."""
        known = [self._definitions[name] for name in list(names) if name in self._definitions]
        return {job.name: job.limit for job in known if job.limit is not None}

    def _memory(self) -> int:
        return int(self._process.memory_info().rss)


_UNWELCOME = {RunState.FAILED, RunState.RETRYING}
_KINDS: dict[RunState, Any] = {RunState.FAILED: "failure", RunState.SUCCEEDED: "success"}


def _event(settlement: values.Settlement, definition: JobDefinition) -> AlertEvent | None:
    kind, history = _KINDS.get(settlement.state), settlement.history or {}
    if kind is None:
        return None
    return AlertEvent(
        kind=kind,
        definition=definition,
        run_id=settlement.claim.run_id,
        message=settlement.message or "",
        details=history.get("StackTrace") or "",
        attempt=settlement.claim.attempt,
        scheduled_for=settlement.claim.scheduled_for,
        duration_ms=history.get("DurationMs"),
        server=history.get("ServerName") or "",
    )
