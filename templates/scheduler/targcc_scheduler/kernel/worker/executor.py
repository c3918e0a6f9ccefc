"""The executor: claim runs, run jobs, settle runs.

The executor stays on the scheduler's loop. Jobs run on the jobs' loop, in threads or in worker processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ...core.clock import together
from ...core.errors import ArgumentsError, FileUnavailable, NodeStuck
from ...core.loop_thread import LoopCalls, stack_of
from ...core.memory import ResidentMemory
from ...core.states import RunState
from ...core.stored_values import Here, exception_line, may_refer
from ...schedules.words import format_duration
from ..blobs import Fetcher
from ..engine.port import MakeOffer
from ..jobs.chains import Parents
from ..jobs.context import JobContext, StopReason
from ..jobs.definition import JobDefinition
from ..poller import poller_of
from ..runs import create, values
from ..runs.claim import Entries, Taken
from ..runs.values import (
    POISON_AFTER,
    Claim,
    ClaimTerms,
    Identity,
    Offer,
    Settlement,
    own_retries,
)
from . import claimer
from .claimer import Claimer, Eligibility, Lease, parents_of
from .node_services import NodeServices
from .outcome import (
    AttemptResult,
    Outcome,
    Wait,
    failures_of,
    next_state,
    raised_outcome,
    refused_outcome,
    rule_wait,
)
from .processes import ProcessInvocation, ProcessPool
from .recorder import RecordWriter, RunRecorder, SettlementWriter
from .runner import Invocation, InvocationResult, JobLoop

# Hold the state of an attempt that runs on this node; log jobs that block the jobs' loop.

# RunningAttempt: the state of one running attempt.


class RunningAttempt:
    """Hold a claimed run and the state of its current attempt: context, recorder, timer, stop reason, result.

    Args:
        claim: The run and its attempt.
        definition: The job.
        recorder: Stores the log lines, progress and steps of the attempt.
        parents: The runs that the run has waited for.
    """

    def __init__(
        self,
        claim: values.Claim,
        definition: JobDefinition,
        recorder: RunRecorder,
        parents: Parents,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.claim = claim
        self.definition = definition
        self.recorder = recorder
        self.ctx = _context(claim, definition, recorder, parents)
        self.turned: asyncio.Future[None] = loop.create_future()
        """Resolved when the job's code has ended or the job is told to stop."""
        self.ended: asyncio.Future[InvocationResult] = loop.create_future()
        self.forced = False
        self.began = time.monotonic()
        self.invocation: Invocation | ProcessInvocation | None = None
        self._again: asyncio.Future[None] | None = None
        self._has_begun = False
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, reason: StopReason, message: str) -> None:
        """Tell the job to stop."""
        self.ctx.tell_to_stop(reason, message)
        if self.invocation is not None:
            self.invocation.tell(reason, message)
        if not self.turned.done():
            self.turned.set_result(None)

    def cancel(self, by: str) -> None:
        """Tell the job to stop because a user cancelled the run.

        If the run has already timed out and still runs, change its stop reason from timeout to cancelled.
        """
        self.tell(StopReason.CANCELLED, f"cancelled by {by}")
        if self.ctx.stop_reason is StopReason.TIMEOUT:
            self.ctx.stop_otherwise(
                StopReason.CANCELLED, f"cancelled by {by}; it had {self.ctx.cancel_reason}"
            )
            self.forced = True  # a later success counts as cancelled too
            if self._again is not None and not self._again.done():
                self._again.set_result(None)

    def told_again(self) -> asyncio.Future[None]:
        """Return a new future that resolves when the stop reason of the job changes."""
        self._again = asyncio.get_running_loop().create_future()
        return self._again

    async def ends_within(self, seconds: float, hurried: asyncio.Event | None = None) -> bool:
        """Wait until the job's code ends, ``seconds`` pass or ``hurried`` is set; return whether the code has ended."""
        hurry = asyncio.create_task(hurried.wait()) if hurried is not None else None
        ends = (self.ended,) if hurry is None else (self.ended, hurry)
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if hurry is not None:
            hurry.cancel()
        return self.ended.done()

    def stop_note(self, since: datetime) -> str:
        """Return a human-readable note: since when, and why, a job that still runs was told to stop."""
        at = since.isoformat(sep=" ", timespec="seconds")
        return f"told to stop at {at}, still running: {self.ctx.cancel_reason}"

    def begun(self) -> None:
        """Start the clock of the job's timeout, as the job's own code begins now. Called from any thread."""
        self.began = time.monotonic()
        self._has_begun = True

    def watch_time(self) -> None:
        """Tell the job to stop when its timeout has passed.

        The job's code begins in another thread, and the beginning does not wake this loop. So the timer runs for one full timeout first;
        then subtract the time since the beginning, and wait again for the rest.
        """
        timeout = self.definition.timeout
        if timeout is None or self.ended.done():
            return
        left = timeout.total_seconds()
        if self._has_begun:
            left -= time.monotonic() - self.began
        if left <= 0:
            self.tell(StopReason.TIMEOUT, f"timed out after {format_duration(timeout)}")
        else:
            self._timer = asyncio.get_running_loop().call_later(left, self.watch_time)

    def end(self, finished: InvocationResult) -> None:
        """Record the result of the job's own code, which has ended, and stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(finished)
        if not self.turned.done():
            self.turned.set_result(None)


def _context(
    claim: values.Claim,
    definition: JobDefinition,
    recorder: RunRecorder,
    parents: Parents,
) -> JobContext:
    instant = claim.scheduled_for or claim.created_at
    return JobContext(
        definition,
        run_id=claim.run_id,
        attempt=claim.attempt,
        scheduled_for=instant.astimezone(ZoneInfo(definition.timezone)),
        triggered_by=claim.triggered_by,
        recorder=recorder,
        trace=claim.trace,
        parents=parents,
    )


# Watchdog: detects that the jobs' loop is blocked and logs the job that blocks the loop.

log = logging.getLogger("targcc.worker.executor")

BLOCKED_SECONDS = 5.0
"""Seconds without an answer after which the loop counts as blocked."""


async def watch(jobs: JobLoop, *, blocked_seconds: float = BLOCKED_SECONDS) -> None:
    """Ping the jobs' loop until cancelled, and log when the loop is blocked. No ping is sent while no job runs.

    Args:
        jobs: The loop.
        blocked_seconds: Seconds without an answer before one warning is logged. The next answer is logged too. The pause between two
            pings is a fifth of this.
    """
    while True:
        await asyncio.sleep(together(blocked_seconds / 5))
        if jobs.contexts:
            await _ask(jobs, blocked_seconds)


async def _ask(jobs: JobLoop, blocked_seconds: float) -> None:
    here, answered = asyncio.get_running_loop(), asyncio.Event()
    asked_at = time.monotonic()
    jobs.thread.loop.call_soon_threadsafe(here.call_soon_threadsafe, answered.set)
    try:
        await asyncio.wait_for(answered.wait(), blocked_seconds)
    except TimeoutError:
        culprits, stack = _culprits(jobs), jobs.thread.stack()
        log.warning(
            "the jobs' loop has been blocked for %.0f s by %s; async jobs must not block, plain ones may:\n%s",
            blocked_seconds,
            culprits,
            stack,
        )
        jobs.stuck_in = f"{culprits}\n{stack}"
        try:
            await answered.wait()
        finally:
            jobs.stuck_in = None
        log.warning("the jobs' loop turns again after %.1f s", time.monotonic() - asked_at)


def _culprits(jobs: JobLoop) -> str:
    running = jobs.now_running
    contexts = [running] if running is not None else list(jobs.contexts)
    names = sorted(f"{ctx.job_name} (run {ctx.run_id})" for ctx in contexts)
    return names[0] if running is not None else "one of " + ", ".join(names)


# The executor: claim runs, run jobs, settle runs.

_LONGEST_SPREAD = 10
"""Most times that an interval is longer with many nodes."""
_LAST_CHANCE_SECONDS = 2.0
"""Seconds that a coroutine may take to end after ``CancelledError``."""
_STOP_FOLLOWS_SECONDS = 1.0
"""Seconds to wait for a stop signal of the node after a job's process was ended from outside: a service manager may signal both at once."""
_SHUTS_DOWN = "the process is shutting down"


class Executor:
    """Claim runs, run their jobs and settle the runs. Implements the engine's :class:`~..engine.port.Worker`.

    Args:
        services: Database, engine, clock, settings and hooks.
        definitions: The jobs, by name; jobs may be added while the executor works.
        lease: Tells whether the last heartbeat is recent enough to claim or begin runs.
        jobs: The loop on which jobs without process isolation run.
        processes: The worker processes for jobs with ``isolation: process``.
        records: Writes log lines, progress, steps and files of runs to the database.
        server_name: The name of this node, for the history.
        queue_limits: Maximum number of running runs per queue, over all nodes. A queue without an entry has no limit.
        refused: Called after each claim that met runs which this node does not know.
        settled: Called with the settlement of each run that this node has settled.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        *,
        lease: Lease,
        jobs: JobLoop,
        processes: ProcessPool,
        records: RecordWriter,
        server_name: str,
        queue_limits: Mapping[str, int],
        refused: Callable[[], None],
        settled: Callable[[Settlement], None],
    ) -> None:
        self.server_id = ""
        self.identity = Identity()
        self.holds = False
        self._services = services
        self._store = services.store
        self._engine = services.engine
        self._clock = services.clock
        self._settings = services.settings
        self._hooks = services.hooks
        self._definitions = definitions
        self._lease = lease
        self._jobs = jobs
        self._processes = processes
        self._records = records
        self._fetcher = Fetcher(services.store, records.keeper)
        self._server_name = server_name
        self._queue_limits = queue_limits
        self._settled = settled
        self._writer = SettlementWriter(
            services.store, services.engine, services.clock, lambda: bool(self._running)
        )
        self._claimer = Claimer(
            services, definitions, terms=self._terms, give_back=self._return, refused=refused
        )
        self.strays = self._claimer.strays
        self._memory = ResidentMemory()
        self._calls: LoopCalls | None = None
        self._running: dict[int, RunningAttempt] = {}
        self._poison: set[int] = set()
        self._stopping: str | None = None
        self._closing = asyncio.Event()
        self._stop_expected = asyncio.Event()
        self._hurried = asyncio.Event()

    # The Worker interface, called by the engine.

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the jobs and arguments that this node knows; see :class:`~..engine.port.Worker`."""
        return self.identity.fingerprint

    async def claim(self, offer: MakeOffer) -> list[Claim]:
        """Claim the runs that an engine offers; see :class:`~..engine.port.Worker`."""
        await self._require_beating()
        claims = await self._claimer.claim(offer)
        self._poison.update(item.run_id for item in claims if item.lost_workers >= POISON_AFTER)
        return claims

    async def claim_at_once(
        self, entries: Entries, queue: str, options: Mapping[str, Any]
    ) -> Taken | None:
        """Take queue entries of plain runs and claim the runs, in one statement; see :class:`~..engine.port.Worker`."""
        await self._require_beating()
        return await self._claimer.claim_at_once(entries, queue, options)

    async def _require_beating(self) -> None:
        if self._jobs.stuck_in is not None:
            raise NodeStuck("the jobs' loop does not turn")
        await self._lease.require()

    async def stage(self) -> None:
        """Make due runs ``enqueued``, or take their deferred keys; see :class:`~..engine.port.Worker`."""
        await claimer.stage_due(self._services, self._definitions, self.identity)

    async def due(self, queues: Collection[str], within: timedelta) -> tuple[bool, datetime | None]:
        """Return whether runs wait in these queues, and when the next run is due; see :class:`~..engine.port.Worker`."""
        async with self._store.read() as connection:
            now = self._clock.now()
            return await create.waiting_work(
                connection, queues, now, now + within, self.fingerprint
            )

    def spread(self, seconds: float) -> float:
        """Return an interval for the number of nodes; see :class:`~..engine.port.Worker`."""
        return poller_of(self._store).spread(seconds, seconds * _LONGEST_SPREAD)

    async def perform(self, claim: Claim) -> None:
        """Run the job and settle the run; see :class:`~..engine.port.Worker`."""
        definition = _with_own_retries(self._definitions.get(claim.job_name), claim)
        try:
            await self._perform(claim, definition)
        except ArgumentsError as error:
            why = refused_outcome("; ".join(str(error).splitlines()))
            await self._not_run(claim, definition, why)
        except FileUnavailable as error:
            await self._not_run(claim, definition, raised_outcome(error))
        except Exception as error:
            log.exception("run %d (%s) met a fault of the scheduler", claim.run_id, claim.job_name)
            why = refused_outcome(f"a fault of the scheduler: {exception_line(error)}")
            await self._not_run(claim, definition, why)
        finally:
            self._poison.discard(claim.run_id)
        # Not in `finally`: a run whose settlement cannot be written is still held, and is no orphan.
        self._claimer.let_go(claim)

    async def _perform(self, claim: Claim, definition: JobDefinition | None) -> None:
        if definition is None:  # the job was removed after the claim
            await self._return(claim, "the job is gone from this node")
            return
        arguments = self._claimer.arguments(claim)
        parents = await parents_of(self._store, claim)
        attempt = RunningAttempt(claim, definition, RunRecorder(claim, self._records), parents)
        self._running[claim.run_id] = attempt
        try:
            if may_refer(claim.arguments_json):
                ended = await self._run_with_files(attempt)
            else:
                if arguments is None:
                    arguments = definition.signature.load(claim.arguments_json)
                ended = await self._run(attempt, arguments)
        finally:
            if self._running.get(claim.run_id) is attempt:  # keep the attempt of a later claim
                del self._running[claim.run_id]
        await self._settle(attempt, ended)

    # Called by the node.

    def cancel(self, run_id: int, by: str) -> None:
        """Tell a run to stop because a user cancelled the run; do nothing if the run does not run on this node."""
        attempt = self._running.get(run_id)
        if attempt is not None:
            attempt.cancel(by)

    def lose_all(self) -> None:
        """Tell every run to stop: this node was declared lost, and the runs belong to other nodes now."""
        for attempt in self._running.values():
            attempt.tell(StopReason.LOST, "another node has taken the run over")

    def expect_stop(self) -> None:
        """Note that the node is about to stop: a run whose process is ended from outside is then released, not failed."""
        self._stop_expected.set()

    def shut_down(self, reason: str) -> None:
        """Tell every run to stop, including runs that begin from now on. Runs that do not end within the grace period are released."""
        self.expect_stop()
        self._stopping = reason
        self._closing.set()
        for attempt in self._running.values():
            attempt.tell(StopReason.SHUTDOWN, reason)

    def hurry(self) -> None:
        """End the grace period of all jobs that were told to stop."""
        self._hurried.set()

    async def close(self) -> None:
        """Wait until the remaining settlements are written. Call this after the engine has returned."""
        await self._writer.close()

    async def _return(self, claim: Claim, why: str) -> None:
        """Put a claimed run back to ``enqueued`` without counting the attempt. If the claim was not committed, nothing is written."""
        note = f"released: {why}"
        waits = Settlement(claim=claim, state=RunState.ENQUEUED, note=note, counts=False)
        await self._writer.settle(waits)

    # One attempt.

    async def _run_with_files(self, attempt: RunningAttempt) -> AttemptResult:
        """Run a job whose arguments refer to files, or are too large for the run's row.

        Raises:
            ArgumentsError: The arguments do not fit the job.
            FileError: Some content is gone or damaged.
            FileUnavailable: The content cannot be read now.
        """
        claim = attempt.claim
        async with self._fetcher.here(claim, attempt.turned) as here:
            if here is None:
                return self._not_begun(attempt)
            load = attempt.definition.signature.load
            arguments = await asyncio.to_thread(load, claim.arguments_json, here)
            return await self._run(attempt, arguments, here)

    async def _run(
        self, attempt: RunningAttempt, arguments: Mapping[str, Any], here: Here | None = None
    ) -> AttemptResult:
        if self._stopping is not None:  # claimed just before the shutdown: release the run
            attempt.tell(StopReason.SHUTDOWN, self._stopping)
        elif not self._lease.holds:  # suspended since the claim: another node may have the run
            await self._lease.held_or(attempt.turned)
        if attempt.turned.done():
            return self._not_begun(attempt)
        memory = self._memory.size()
        invocation = attempt.invocation = self._begin(attempt, arguments, here)
        await attempt.turned
        if not attempt.ended.done():
            await self._stop(attempt, invocation)
        finished = attempt.ended.result() if attempt.ended.done() else None
        from_outside = finished is not None and finished.from_outside
        if from_outside and attempt.ctx.stop_reason is None and await self._stop_follows():
            attempt.ctx.tell_to_stop(StopReason.SHUTDOWN, self._stopping or _SHUTS_DOWN)
        return AttemptResult(
            ended_at=self._clock.now(),
            outcome=finished.outcome if finished else None,
            stopped=attempt.ctx.stop_reason,
            stop_message=attempt.ctx.cancel_reason or "",
            noticed=attempt.ctx.noticed or attempt.forced or from_outside,
            abandoned=finished is None,
            untouched=not (finished is None or finished.interrupted or attempt.ctx.noticed),
            duration_ms=round((time.monotonic() - attempt.began) * 1000),
            cpu_ms=finished.cpu_ms if finished else 0,
            memory_mb=(
                max(self._memory.size() - memory, 0) // 2**20
                if finished is None or finished.memory_mb is None
                else finished.memory_mb
            ),
        )

    async def _stop_follows(self) -> bool:
        """Wait up to 1 s and return whether the node was told to stop.

        A service manager that ends all processes of a service may end a job's process before the node hears.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop_expected.wait(), _STOP_FOLLOWS_SECONDS)
        return self._stop_expected.is_set()

    def _not_begun(self, attempt: RunningAttempt) -> AttemptResult:
        return AttemptResult(
            ended_at=self._clock.now(),
            stopped=attempt.ctx.stop_reason,
            stop_message=attempt.ctx.cancel_reason or "",
            noticed=True,
        )

    def _begin(
        self, attempt: RunningAttempt, arguments: Mapping[str, Any], here: Here | None
    ) -> Invocation | ProcessInvocation:
        calls = self._calls = self._calls or LoopCalls(asyncio.get_running_loop())
        definition, ctx, hooks = attempt.definition, attempt.ctx, self._hooks

        def on_end(finished: InvocationResult) -> None:
            calls.ask(attempt.end, finished)

        attempt.watch_time()

        if definition.isolation == "process":
            ctx.take(arguments)
            return self._processes.begin(
                definition,
                ctx,
                (attempt.claim.arguments_json, here),
                hooks=hooks,
                recorder=attempt.recorder,
                failures=failures_of(attempt.claim),
                when=self._lease.then,
                on_begin=attempt.begun,
                on_end=on_end,
            )
        return self._jobs.begin(
            definition, ctx, arguments, hooks=hooks.around, on_begin=attempt.begun, on_end=on_end
        )

    async def _stop(
        self, attempt: RunningAttempt, invocation: Invocation | ProcessInvocation
    ) -> None:
        """Wait for the grace period of a job that was told to stop, then stop the job by force.

        A job that continues even then keeps its worker until the job or the process ends.
        """
        since = self._clock.now()
        shutdown = attempt.ctx.stop_reason is StopReason.SHUTDOWN
        grace = self._settings.shutdown_grace if shutdown else self._settings.cancel_grace
        if await attempt.ends_within(grace, self._hurried):
            return
        attempt.forced = True
        invocation.stop()
        if not invocation.in_thread and await attempt.ends_within(_LAST_CHANCE_SECONDS):
            return
        self._say_it_goes_on(attempt, invocation)
        if not shutdown:
            await self._wait_for_end(attempt, since)

    async def _wait_for_end(self, attempt: RunningAttempt, since: datetime) -> None:
        """Wait for a job that does not stop, and store a note on its run. After a shutdown begins, wait only for the grace period."""
        closing = asyncio.create_task(self._closing.wait())
        try:
            while not (attempt.ended.done() or self._closing.is_set()):
                self._records.note_stop(attempt.claim, attempt.stop_note(since))
                again = attempt.told_again()
                await asyncio.wait(
                    (attempt.ended, closing, again), return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            closing.cancel()
        await attempt.ends_within(self._settings.shutdown_grace, self._hurried)

    def _say_it_goes_on(
        self, attempt: RunningAttempt, invocation: Invocation | ProcessInvocation
    ) -> None:
        thread = invocation.job_thread if invocation.in_thread else None
        log.error(
            "run %d (%s): %s; its %s does not stop and keeps its worker until it ends:\n%s",
            attempt.claim.run_id,
            attempt.claim.job_name,
            attempt.ctx.cancel_reason or "",
            f"thread {thread.name!r}" if thread is not None else "coroutine",
            stack_of(thread if thread is not None else self._jobs.thread.thread),
        )

    async def _asked(self, attempt: RunningAttempt, ended: AttemptResult) -> Wait | None:
        """Return the wait that the job's back-off rule chooses; ``None`` if the run is not retried or the rule gives no wait."""
        definition, claim = attempt.definition, attempt.claim
        if ended.stopped is StopReason.LOST:
            return None
        default = next_state(ended, claim, definition, server=self._server_name)
        if default.state is not RunState.RETRYING:
            return None
        finished = attempt.ended.result() if attempt.ended.done() else None
        error: BaseException = RuntimeError(default.message)
        if ended.stopped is StopReason.TIMEOUT:
            error = TimeoutError(ended.stop_message)
        elif finished is not None and finished.asked:
            return finished.wait
        elif finished is not None and finished.error is not None:
            error = finished.error
        return await asyncio.to_thread(
            rule_wait, definition, attempt.ctx, failures_of(claim), error
        )

    async def _settle(self, attempt: RunningAttempt, ended: AttemptResult) -> None:
        if attempt.definition.backoff_rule is not None:
            ended = replace(ended, wait=await self._asked(attempt, ended))
        await self._records.written(attempt.recorder)
        lines, progress = attempt.recorder.close()
        claim = attempt.claim
        if ended.stopped is StopReason.LOST:
            log.warning("run %d (%s) was lost to another node", claim.run_id, claim.job_name)
            return
        settlement = next_state(ended, claim, attempt.definition, server=self._server_name)
        if lines or progress is not None:
            settlement = replace(settlement, log_lines=lines, progress=progress)
        await self._finish(settlement, ended)

    async def _not_run(self, claim: Claim, definition: JobDefinition | None, why: Outcome) -> None:
        ended = AttemptResult(ended_at=self._clock.now(), outcome=why)
        await self._finish(next_state(ended, claim, definition, server=self._server_name), ended)

    async def _finish(self, settlement: Settlement, ended: AttemptResult) -> None:
        claim = settlement.claim
        written = await self._writer.settle(settlement)
        if written is None:
            log.warning("run %d (%s) was lost to another node", claim.run_id, claim.job_name)
            return
        log.log(
            logging.WARNING if written.state in _UNWELCOME else logging.INFO,
            "run %d (%s) %s after %d ms: %s",
            claim.run_id,
            claim.job_name,
            written.state,
            ended.duration_ms,
            written.message,
            extra={"job": claim.job_name, "run_id": claim.run_id, "attempt": claim.attempt},
        )
        self._settled(written)

    def _terms(
        self, offer: Offer, fitting: Eligibility, names: Collection[str] | None
    ) -> ClaimTerms:
        """Return the terms of a claim; ``names`` are the jobs to look at, where the claim takes runs of no other jobs."""
        jobs, offered = self._definitions, {run.job_name for run in offer.runs}
        if names is not None:  # a look at thousands of jobs takes longer than the claim
            jobs = {name: jobs[name] for name in names}
        return ClaimTerms(
            server_id=self.server_id,
            limits=limits_of(jobs, None if offer.queues else offered),
            poison_here=bool(self._poison),
            now=self._clock.now(),
            tell=self._clock.now,
            queue_limits=self._queue_limits,
            keyed=claimer.LimitPolicies(jobs),
            identity=self.identity,
            fits=fitting.why_not,
        )


def _with_own_retries(definition: JobDefinition | None, claim: Claim) -> JobDefinition | None:
    """Return the job with the run's own number of retries, if the run has one."""
    retries = own_retries(claim.ties)
    if definition is None or retries is None:
        return definition
    return replace(definition, retries=retries)


def limits_of(
    definitions: Mapping[str, JobDefinition], names: Collection[str] | None = None
) -> dict[str, int]:
    """Map each job that has a limit to its maximum number of running runs.

    Args:
        definitions: The jobs, by name.
        names: The jobs to look at; ``None`` for all. Unknown names are skipped.
    """
    wanted = list(definitions) if names is None else names
    known = [definitions[name] for name in wanted if name in definitions]
    return {job.name: job.limit for job in known if job.limit is not None}


_UNWELCOME = {RunState.FAILED, RunState.RETRYING}
