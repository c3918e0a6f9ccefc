"""Random calls of the public API leave the same states and counts as a small model, on SQLite and PostgreSQL."""

# ruff: noqa: FBT001, FBT002 - arguments of jobs and of rules

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from guarantee_rig import QUICK, Ledger
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from model import OVER, Batch, Model, Run
from projects import RIG
from soundness import complaints
from targcc_scheduler import Scheduler, Settings, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.errors import BatchError, FlowStateError, RunStateError, UnknownRun
from targcc_scheduler.db.tables import job_batch, job_run

PROJECT = replace(
    RIG,
    flows={
        "Two": {
            "arguments": {"fails": False},
            "steps": {
                "first": {"job": "Plain", "arguments": {"fails": "{flow.fails}"}},
                "second": {"job": "Plain", "after": ["first"]},
            },
        }
    },
)
SEVERAL = st.integers(0, 30)


@job(retries=0)
async def plain(fails: bool = False) -> None:
    """Fail as told."""
    if fails:
        raise ValueError("as told")


@job(retries=0, unique="key")
async def keyed(key: str, fails: bool = False) -> None:  # noqa: ARG001 - the unique key
    """Fail as told."""
    await plain(fails)


@job(retries=0, limit={"key": "tenant", "running": 1})
async def limited(tenant: str, fails: bool = False) -> None:  # noqa: ARG001 - the key of the limit
    """Fail as told."""
    await plain(fails)


class Machine(RuleBasedStateMachine):
    """Calls of the scheduler and of the model, one after the other; runs work in a step of its own."""

    new_url: Callable[[], str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        url = type(self).new_url()
        values = Settings(_env_file=None, database_url=url, **QUICK)
        self.ledger = Ledger(url)
        self.scheduler = Scheduler(values, jobs_package=__name__, notify=_nobody)
        self.model = Model()
        self.flows: list[int] = []
        self.do(self.scheduler.start(work=False, schedule=False))

    def do(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        self.do(self.scheduler.stop())
        self.loop.close()

    def one_of(self, ids: Any, number: int) -> int | None:
        """Return an id by a random number."""
        ordered = sorted(ids)
        return ordered[number % len(ordered)] if ordered else None

    # Creating.

    @rule(fails=st.booleans())
    def enqueue(self, fails: bool) -> None:
        self.model.add(self.do(self.scheduler.enqueue(plain, fails=fails)), Run(fails))

    @rule(key=st.sampled_from("ab"), fails=st.booleans())
    def enqueue_unique(self, key: str, fails: bool) -> None:
        run_id = self.do(self.scheduler.enqueue(keyed, key=key, fails=fails))
        holder = self.model.holder(key)
        assert run_id.existing == (holder is not None)
        if holder is None:
            self.model.add(run_id, Run(fails, key))
        assert holder in {None, run_id}

    @rule(tenant=st.sampled_from("ab"), fails=st.booleans())
    def enqueue_limited(self, tenant: str, fails: bool) -> None:
        run_id = self.do(self.scheduler.enqueue(limited, tenant=tenant, fails=fails))
        self.model.add(run_id, Run(fails, limit=tenant))

    @rule(number=SEVERAL, on=st.sampled_from(["success", "failure", "finish"]), fails=st.booleans())
    def enqueue_after(self, number: int, on: Any, fails: bool) -> None:
        parent = self.one_of(self.model.runs, number)
        if parent is not None:
            run_id = self.do(self.scheduler.enqueue(plain, after=parent, on=on, fails=fails))
            self.model.add(run_id, Run(fails, parent=parent, on=on))

    @rule(many=st.lists(st.booleans(), max_size=3), within=st.booleans(), number=SEVERAL)
    def create_batch(self, many: list[bool], within: bool, number: int) -> None:
        running = [key for key, batch in self.model.batches.items() if batch.state == "running"]
        parent = self.one_of(running, number) if within else None

        async def create() -> int:
            async with self.scheduler.batch("batch", on_finish=plain, parent=parent) as batch:
                batch.enqueue_many(plain, [{"fails": fails} for fails in many])
            return batch.batch_id

        batch_id = self.do(create())
        self.model.batches[batch_id] = Batch(len(many), parent)
        if parent is not None:
            self.model.batches[parent].total += 1
        self.adopt(batch_id)
        self.model.settle_batch(batch_id)

    @rule(number=SEVERAL, many=st.lists(st.booleans(), min_size=1, max_size=2))
    def add_to_batch(self, number: int, many: list[bool]) -> None:
        batch_id = self.one_of(self.model.batches, number)
        if batch_id is None:
            return
        batch, given = self.model.batches[batch_id], [{"fails": fails} for fails in many]
        if batch.state != "running":
            with pytest.raises(BatchError):
                self.do(self.scheduler.batches.add(batch_id, plain, given))
            return
        self.do(self.scheduler.batches.add(batch_id, plain, given))
        batch.total += len(many)
        self.adopt(batch_id)

    def adopt(self, batch_id: int) -> None:
        """Read the ids of new members and callbacks."""
        for row in self.ledger.rows(sa.select(job_run).order_by(job_run.c.Id)):
            if row.Id in self.model.runs or row.Step is not None:
                continue
            fails = '"fails":true' in (row.ArgumentsJson or "").replace(" ", "")
            is_member = row.BatchId == batch_id
            run = (
                Run(fails, batch=batch_id) if is_member else Run(callback_of=batch_id, on="finish")
            )
            self.model.add(row.Id, run)

    @rule(fails=st.booleans())
    def start_flow(self, fails: bool) -> None:
        """Flows have runs of their own, which the checker of the rows judges alone."""
        self.flows.append(self.do(self.scheduler.start_flow("Two", {"fails": fails})))

    # Acts.

    @rule(number=SEVERAL, again=st.booleans())
    def act_on_flow(self, number: int, again: bool) -> None:
        flow_id = self.one_of(self.flows, number)
        if flow_id is not None:
            act = self.scheduler.rerun_flow if again else self.scheduler.cancel_flow
            with contextlib.suppress(FlowStateError):
                self.do(act(flow_id, by=SYSTEM))

    @rule(number=SEVERAL)
    def cancel_batch(self, number: int) -> None:
        batch_id = self.one_of(self.model.batches, number)
        if batch_id is None:
            return
        if self.model.batches[batch_id].state != "running":
            with pytest.raises(BatchError):
                self.do(self.scheduler.batches.cancel(batch_id, by=SYSTEM))
            return
        self.do(self.scheduler.batches.cancel(batch_id, by=SYSTEM))
        self.model.cancel_batch(batch_id)

    @rule(number=SEVERAL)
    def cancel(self, number: int) -> None:
        run_id = self.one_of(self.model.runs, number)
        if run_id is None:
            return
        if self.model.runs[run_id].state in OVER:
            with pytest.raises(RunStateError):
                self.do(self.scheduler.cancel(run_id, by=SYSTEM))
        else:
            self.do(self.scheduler.cancel(run_id, by=SYSTEM))
            self.model.cancel(run_id)

    @rule(number=SEVERAL)
    def delete(self, number: int) -> None:
        run_id = self.one_of(self.model.runs, number)
        if run_id is not None:
            self.do(self.scheduler.delete(run_id, by=SYSTEM))
            self.model.delete(run_id)
            with pytest.raises(UnknownRun):
                self.do(self.scheduler.delete(run_id, by=SYSTEM))

    @rule(number=SEVERAL)
    def retry(self, number: int) -> None:
        run_id = self.one_of(self.model.runs, number)
        if run_id is None or not self.model.can_retry(run_id):
            return
        run = self.model.runs[run_id]
        if run.state not in OVER:
            with pytest.raises(RunStateError):
                self.do(self.scheduler.retry(run_id, by=SYSTEM))
            return
        if self.model.holder(run.key) is None:
            self.model.retry(run_id, self.do(self.scheduler.retry(run_id, by=SYSTEM)))
        else:
            assert self.do(self.scheduler.retry(run_id, by=SYSTEM)).existing

    @rule()
    def pause_and_resume(self) -> None:
        self.do(self.scheduler.pause_queue("default", by=SYSTEM))
        self.do(self.scheduler.resume_queue("default", by=SYSTEM))

    # Work.

    @rule()
    def work(self) -> None:
        """Let another scheduler perform all runs that may begin."""
        worker = Scheduler(self.scheduler.settings, jobs_package=__name__, notify=_nobody)

        async def perform() -> None:
            await worker.start(schedule=False)
            self.model.work()
            async with asyncio.timeout(60):
                while self.moves():  # noqa: ASYNC110 - a node ends them
                    await asyncio.sleep(0.01)
            await worker.stop()

        self.do(perform())

    def moves(self) -> bool:
        """Return whether a run may begin, runs, or waits for capacity."""
        c = job_run.c
        waits = sa.and_(c.State == "awaiting", c.LimitKey.is_not(None))
        query = sa.select(c.Id).where(sa.or_(c.State.in_(["enqueued", "running"]), waits))
        return bool(self.ledger.rows(query))

    # Comparisons.

    @invariant()
    def states_are_those_of_the_model(self) -> None:
        query = sa.select(job_run.c.Id, job_run.c.State).where(job_run.c.Step.is_(None))
        rows = self.ledger.rows(query)
        assert {row.Id: str(row.State) for row in rows} == {
            run_id: run.state for run_id, run in self.model.runs.items()
        }

    @invariant()
    def counts_are_those_of_the_model(self) -> None:
        for row in self.ledger.rows(sa.select(job_batch).where(job_batch.c.Kind == "batch")):
            counts = row.Pending, row.Failed, row.Total, row.State
            assert counts == self.model.counts(row.Id), f"batch {row.Id}"

    @invariant()
    def the_database_is_sound(self) -> None:
        assert complaints(self.ledger) == []


async def _nobody(_: object) -> None:
    """Send no alerts."""


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Yield a function that makes a database with the scheduler's tables."""
    monkeypatch.setattr("targcc_scheduler.project._configured", PROJECT)
    made: list[str] = []
    if request.param == "sqlite":
        template = request.getfixturevalue("_sqlite_template")

        def copy() -> str:
            made.append(f"{len(made)}.db")
            shutil.copy(template, tmp_path / made[-1])
            return f"sqlite:///{tmp_path / made[-1]}"

        yield copy
        return
    server = request.getfixturevalue("postgresql_server")
    template = request.getfixturevalue("_postgresql_template")

    def create() -> str:
        made.append(server.create(template))
        return str(server.url(made[-1]))

    yield create
    for name in made:
        server.drop(name)


def explore(new_url: Callable[[], str], examples: int, steps: int, chosen_by: int) -> None:
    """Run random sequences of calls."""
    machine = type("Machine", (Machine,), {"new_url": staticmethod(new_url)})
    run_state_machine_as_test(
        seed(chosen_by)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
            deadline=None,
            database=None,
        ),
    )


@pytest.mark.slow
def test_random_calls_agree_with_the_model(new_url):
    explore(new_url, 6, 12, 0)


@pytest.mark.soak
@pytest.mark.parametrize("chosen_by", range(1, 13))
def test_many_random_calls_agree_with_the_model(new_url, chosen_by):
    explore(new_url, int(os.environ.get("TARGCC_MODEL_EXAMPLES", "25")), 40, chosen_by)
