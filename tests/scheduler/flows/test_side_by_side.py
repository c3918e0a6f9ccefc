"""A flow with many parallel steps: settling a run costs no more than in a flow with few steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from flows_rig import project
from guarantee_rig import DANA, schedulers
from targcc_scheduler import Scheduler
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.features.flows.queries import get_flow

SIDES = 6
_SIDE = {"job": "ImportOrders", "for_each": "flow.months", "arguments": {"month": "{item}"}}
WIDE = {
    "arguments": {"months": []},
    "steps": {
        **{f"side{number}": _SIDE for number in range(SIDES)},
        "next": {"job": "TellSomebody", "after": "side0", "on": "finish"},
    },
}


@pytest.fixture
async def scheduler(_apart, migrated_url: str, monkeypatch):
    """A scheduler that creates runs and executes none."""
    wide = replace(project(), flows={"Wide": WIDE})
    monkeypatch.setattr("targcc_scheduler.project._configured", wide)
    async with schedulers(migrated_url, "flows_rig") as make:
        made = make()
        await made.start(work=False, schedule=False)
        yield made


@contextmanager
def statements() -> Iterator[list[str]]:
    texts: list[str] = []

    def note(_connection, _cursor, statement, *_):
        texts.append(" ".join(statement.split()))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield texts
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


async def sides(scheduler: Scheduler, flow_id: int) -> dict[str, list[int]]:
    """Return the run ids of each step."""
    c = job_run.c
    query = sa.select(c.Id, c.Step).where(c.BatchId == flow_id).order_by(c.Id)
    ids: dict[str, list[int]] = {}
    for run_id, step in await scheduler.read(lambda db: db.execute(query)):
        ids.setdefault(step, []).append(run_id)
    return ids


async def states(scheduler: Scheduler, flow_id: int) -> dict[str, str]:
    flow = await scheduler.read(lambda db: get_flow(db, flow_id))
    assert flow is not None
    return {step.name: str(step.state) for step in flow.steps}


async def test_the_end_of_a_run_asks_for_its_own_step_alone(scheduler: Scheduler):
    flow_id = await scheduler.start_flow("Wide", {"months": ["1", "2"]}, by=DANA)
    runs = await sides(scheduler, flow_id)
    assert [len(ids) for ids in runs.values()] == [2] * SIDES
    with statements() as executed:
        await scheduler.cancel(runs["side0"][0], by=DANA)
    queries = [statement for statement in executed if "c_JobRun.Step =" in statement]
    assert (
        len(queries),
        [statement for statement in executed if statement.startswith("UPDATE c_JobBatch")],
    ) == (1, [])
    with statements() as executed:
        await scheduler.cancel(runs["side0"][1], by=DANA)
    written = [statement for statement in executed if statement.startswith("UPDATE c_JobBatch")]
    assert len(written) == 1
    assert (await states(scheduler, flow_id))["next"] == "running"


async def test_a_flow_goes_on_at_once_when_the_rest_of_a_step_is_deleted(scheduler: Scheduler):
    flow_id = await scheduler.start_flow("Wide", {"months": ["1", "2"]}, by=DANA)
    first, second = (await sides(scheduler, flow_id))["side0"]
    await scheduler.cancel(first, by=DANA)
    await scheduler.delete(second, by=DANA)
    states_by_step = await states(scheduler, flow_id)
    assert (states_by_step["side0"], states_by_step["side1"], states_by_step["next"]) == (
        "cancelled",
        "running",
        "running",
    )
