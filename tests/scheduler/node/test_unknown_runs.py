"""Runs whose jobs or arguments a node does not know wait unchanged for a node that knows them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from guarantee_rig import DANA, QUICK, Ledger, MakeScheduler, schedulers
from rt_tools import until
from targcc_scheduler import RunState, Settings, operations
from targcc_scheduler.core.states import FINAL
from targcc_scheduler.db.tables import job_alert, job_run
from targcc_scheduler.kernel.runs.eligibility import refusals_of

ADD = """
from targcc_scheduler import JobContext, job

@job(name="Add", queue="critical", retries=0)
async def add(ctx: JobContext, {parameters}) -> str:
    return "{parameters}"
"""
OTHER = """
from targcc_scheduler import JobContext, job

@job(name="Other", queue="critical")
async def other(ctx: JobContext) -> str:
    return "other"
"""
Deploy = Callable[..., str]


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deploy:
    """Return a function that writes a package of jobs, one file per source, and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def write(*sources: str) -> str:
        package = f"release_{tmp_path.name}_{len(made)}"
        made.append(package)
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("", encoding="utf-8")
        for number, source in enumerate(sources):
            (tmp_path / package / f"file{number}.py").write_text(source, encoding="utf-8")
        return package

    return write


@pytest.fixture
async def make(migrated_url: str) -> AsyncIterator[MakeScheduler]:
    """Return a function that makes schedulers."""
    async with schedulers(migrated_url, "") as make:
        yield make
    Ledger(migrated_url).assert_sound()


@pytest.fixture
def ledger(migrated_url: str) -> Ledger:
    return Ledger(migrated_url)


def settings(ledger: Ledger, **more: Any) -> Settings:
    return Settings(_env_file=None, database_url=ledger.url, **{**QUICK, **more})


@pytest.mark.slow
async def test_a_run_of_an_unknown_job_waits_unharmed_until_a_node_knows_it(make, deploy, ledger):
    node = make(jobs_package=deploy(OTHER), settings=settings(ledger, release="without"))
    await node.start()
    knows = make(jobs_package=deploy(ADD.format(parameters="a: int"), OTHER))
    await knows.start(work=False, schedule=False)
    run_id = await knows.enqueue("Add", a=1)
    await until(lambda: ledger.run(run_id).UnknownSince)
    others = [await knows.enqueue("Other") for _ in range(3)]
    await until(lambda: all(ledger.run(other_id).State == "succeeded" for other_id in others))
    row = ledger.run(run_id)
    assert (row.State, row.Attempt, row.StartedAt, row.LostWorkers) == ("enqueued", 0, None, 0)
    assert ledger.attempts(run_id) == []
    [refusal] = refusals_of(row.RefusedBy)  # refused once, however often the node polled
    assert (refusal.release, refusal.why) == ("without", "it knows no job Add")

    worker = make(jobs_package=deploy(ADD.format(parameters="a: int")))
    await worker.start()
    assert await knows.wait(run_id, 40) == RunState.SUCCEEDED
    row = ledger.run(run_id)
    assert (row.Attempt, row.UnknownSince, row.RefusedBy) == (1, None, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        ("a: int", "a: int, b: str", {"a": 1, "b": "x"}),
        ("a: int, b: str", "a: int", {"a": 1}),
        ("a: int", "a: str", {"a": "x"}),
    ],
    ids=["added", "removed", "of another type"],
)
async def test_a_run_whose_arguments_fit_elsewhere_goes_there(make, deploy, ledger, change):
    here, fitting_parameters, arguments = change
    first, other = (
        make(jobs_package=deploy(ADD.format(parameters=it))) for it in (here, fitting_parameters)
    )
    await first.start()
    await other.start(work=False, schedule=False)
    run_id = await other.enqueue("Add", **arguments)
    await until(lambda: ledger.run(run_id).UnknownSince)
    assert ledger.run(run_id).Attempt == 0
    second = make(jobs_package=deploy(ADD.format(parameters=fitting_parameters)))
    await second.start()
    run_ids = [run_id] + [await other.enqueue("Add", **arguments) for _ in range(10)]
    for queued_id in run_ids:
        assert await other.wait(queued_id, 40) == RunState.SUCCEEDED
    assert {ledger.run(queued_id).Message for queued_id in run_ids} == {fitting_parameters}
    assert {ledger.run(queued_id).Attempt for queued_id in run_ids} == {1}


@pytest.mark.slow
async def test_a_run_that_was_taken_without_looking_goes_back_when_its_arguments_do_not_fit(
    make, deploy, ledger
):
    """On PostgreSQL, a node claims runs of a job it has run before in one statement."""
    first, other = (
        make(jobs_package=deploy(ADD.format(parameters=it))) for it in ("a: int", "a: str")
    )
    await first.start()
    await other.start(work=False, schedule=False)
    fit = [await first.enqueue("Add", a=number) for number in range(3)]
    await until(lambda: all(ledger.run(run_id).State == "succeeded" for run_id in fit))
    run_id = await other.enqueue("Add", a="x")
    await until(lambda: ledger.run(run_id).UnknownSince)
    row = ledger.run(run_id)
    assert (row.State, row.Attempt, row.LostWorkers) == ("enqueued", 0, 0)
    assert ledger.attempts(run_id) == []
    again = await first.enqueue("Add", a=4)
    await until(lambda: ledger.run(again).State == "succeeded")
    second = make(jobs_package=deploy(ADD.format(parameters="a: str")))
    await second.start()
    assert await other.wait(run_id, 40) == RunState.SUCCEEDED
    assert ledger.run(run_id).Attempt == 1


async def test_a_job_whose_file_is_added_while_the_node_runs_gets_its_runs(
    make, deploy, ledger, tmp_path
):
    package = deploy(OTHER)
    node = make(jobs_package=package)
    await node.start()
    client = make(jobs_package=deploy(ADD.format(parameters="a: int")))
    await client.start(work=False, schedule=False)
    run_id = await client.enqueue("Add", a=1)
    await until(lambda: ledger.run(run_id).UnknownSince)
    added = tmp_path / package / "added.txt"
    added.write_text(ADD.format(parameters="a: int"), encoding="utf-8")
    added.replace(
        added.with_suffix(".py")
    )  # at once: the node imports a half-written file as it is
    later = await client.enqueue("Add", a=2)  # makes the node poll
    assert await client.wait(run_id, 40) == RunState.SUCCEEDED
    assert await client.wait(later, 40) == RunState.SUCCEEDED


@pytest.mark.slow
async def test_many_runs_that_nobody_knows_hold_up_no_other(make, deploy, ledger):
    client = make(jobs_package=deploy(ADD.format(parameters="a: int"), OTHER))
    await client.start(work=False, schedule=False)
    unknown = [await client.enqueue("Add", a=1, priority=9) for _ in range(250)]
    good = await client.enqueue("Other")
    node = make(jobs_package=deploy(OTHER))
    await node.start()
    assert await client.wait(good, 60) == RunState.SUCCEEDED
    await until(lambda: ledger.rows(_waiting())[0][0] == len(unknown))
    assert all(len(refusals_of(row.RefusedBy)) == 1 for row in ledger.runs("Add"))


def _waiting() -> sa.Select[Any]:
    waits = job_run.c.UnknownSince.is_not(None)
    return sa.select(sa.func.count()).select_from(job_run).where(waits)


EVERY_SECOND = """
from targcc_scheduler import JobContext, job

@job("* * * * * *", name="Every")
async def every(ctx: JobContext{more}) -> str:
    return "done"
"""


@pytest.mark.slow
async def test_a_run_that_waits_for_another_node_makes_no_slot_skipped(make, deploy, ledger):
    """A run of another release, with an argument unknown to this node, does not block slots."""
    client = make(jobs_package=deploy(EVERY_SECOND.format(more=", note: str = ''")))
    await client.start(work=False, schedule=False)
    stuck = await client.enqueue("Every", note="from the new release")
    node = make(jobs_package=deploy(EVERY_SECOND.format(more="")))
    await node.start()
    # the run blocks slots until the node refuses it
    await until(lambda: ledger.run(stuck).UnknownSince)
    refused_by_now = client.clock.now()

    def slots() -> list[Any]:
        rows = ledger.runs("Every")
        return [row for row in rows if row.ScheduledFor and row.ScheduledFor > refused_by_now]

    await until(lambda: sum(row.State == "succeeded" for row in slots()) > 1)
    assert ledger.run(stuck).State == "enqueued"
    assert [row.Message for row in slots() if f"run {stuck} " in (row.Message or "")] == []


async def test_people_are_told_once_of_all_that_wait_and_by_whom_they_were_refused(
    make, deploy, ledger
):
    ledger.change(sa.insert(job_alert).values(JobName="Add", EmailRecipients="ops@example.com"))
    events: list[Any] = []

    async def tell(event: Any) -> None:
        events.append(event)

    own_settings = settings(ledger, unknown_after=0.5, release="R7")
    package = deploy(OTHER)
    nodes = [make(jobs_package=package, settings=own_settings, notify=tell) for _ in range(2)]
    client = make(jobs_package=deploy(ADD.format(parameters="a: int")))
    await client.start(work=False, schedule=False)
    runs = [await client.enqueue("Add", a=number) for number in range(3)]
    for node in nodes:
        await node.start()
    await until(lambda: sum(_told(event) for event in events) == len(runs))
    for node in nodes:  # each node polls again
        await node.call(node.node.releases.look())
    assert sum(_told(event) for event in events) == len(runs)
    assert {(event.kind, event.definition.name) for event in events} == {("unknown", "Add")}
    assert "(release R7): it knows no job Add" in events[0].message


def _told(event: Any) -> int:
    return int(event.message.split()[0])


async def test_what_nobody_knows_is_given_up_only_when_that_was_asked_for(make, deploy, ledger):
    events: list[Any] = []

    async def tell(event: Any) -> None:
        events.append(event)

    client = make(jobs_package=deploy(ADD.format(parameters="a: int")))
    await client.start(work=False, schedule=False)
    run_id = await client.enqueue("Add", a=1)
    patient = make(jobs_package=deploy(OTHER), notify=tell)
    await patient.start()
    await until(lambda: ledger.run(run_id).UnknownSince)
    await patient.stop()
    assert ledger.run(run_id).State == "enqueued"
    strict = make(
        jobs_package=deploy(OTHER), notify=tell, settings=settings(ledger, give_up_after=0.1)
    )
    await strict.start()
    assert await client.wait(run_id, 40) == RunState.FAILED
    [attempt] = ledger.attempts(run_id)
    assert "no node has known it since" in attempt.ErrorMessage
    assert "it knows no job Add" in attempt.ErrorMessage
    await until(lambda: [event.kind for event in events] == ["failure"])


async def test_a_person_may_end_a_run_that_nobody_knows(make, deploy, ledger):
    client = make(jobs_package=deploy(ADD.format(parameters="a: int")))
    await client.start(work=False, schedule=False)
    cancelled, failed = [await client.enqueue("Add", a=number) for number in range(2)]
    node = make(jobs_package=deploy(OTHER))
    await node.start()
    await until(lambda: ledger.run(failed).UnknownSince and ledger.run(cancelled).UnknownSince)
    assert await client.cancel(cancelled, by=DANA) == RunState.CANCELLED
    await client.operate(operations.fail, None, failed, DANA)
    assert {ledger.run(run_id).State for run_id in (cancelled, failed)} <= set(FINAL)
    assert ledger.run(failed).Message.startswith("failed by Manual (dana): no node has known it")
    assert len(ledger.attempts(failed)) == 1
