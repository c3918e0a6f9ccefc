"""Running flows on SQLite and PostgreSQL: the flow of ``docs/flows.md``."""

import asyncio
import dataclasses
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import flows_rig
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from flows_rig import HELD, SEEN
from guarantee_rig import DANA, QUICK, Ledger, schedulers, until
from projects import PATH
from targcc_scheduler import ArgumentsError, Client, RunState, Scheduler, Settings
from targcc_scheduler import flow as declare_flow
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.errors import FlowStateError, UnknownFlow
from targcc_scheduler.db.tables import job_run, logged_job
from targcc_scheduler.features.flows.graph import StepState
from targcc_scheduler.features.flows.pages import step_word
from targcc_scheduler.features.flows.queries import Flow, FlowStep, flow_of_run, get_flow
from web_fixtures import Site

HERE = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _flows(_apart, monkeypatch):
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", "flows_rig")
    monkeypatch.setattr("targcc_scheduler.project._configured", flows_rig.project())
    SEEN.clear()


@pytest.fixture
async def scheduler(migrated_url: str):
    async with schedulers(migrated_url, "flows_rig") as make:
        scheduler = make()
        await scheduler.start(schedule=False)
        yield scheduler
    Ledger(migrated_url).assert_sound()


async def flow(scheduler: Scheduler, flow_id: int) -> Flow:
    result = await scheduler.read(lambda db: get_flow(db, flow_id))
    assert result is not None
    return result


async def over(scheduler: Scheduler, flow_id: int) -> Flow:
    for _ in range(3_000):
        if (current_flow := await flow(scheduler, flow_id)).final:
            return current_flow
        await asyncio.sleep(0.01)
    raise AssertionError(current_flow)


def states(found: Flow) -> dict[str, str]:
    return {step.name: str(step.state) for step in found.steps}


async def all_is_old(scheduler: Scheduler) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)

    async def age(connection):
        over = sa.update(job_run).where(job_run.c.CompletedAt.is_not(None))
        await connection.execute(over.values(CompletedAt=long_ago))
        await connection.execute(sa.update(logged_job).values(StartedAt=long_ago))

    await scheduler.change(age)


@declare_flow("MonthEnd")
def month_end(*, month: str = "8") -> None:
    """Declare the arguments of the flow."""


@pytest.mark.slow
async def test_a_call_of_a_flow_starts_it_with_its_arguments(scheduler: Scheduler):
    by_name = await scheduler.start_flow("MonthEnd", {"month": "9"}, by=DANA)
    by_call = await scheduler.start_flow(month_end(month="9"), by=DANA)
    defaults = await scheduler.start_flow(month_end())
    flows = [await over(scheduler, flow_id) for flow_id in (by_name, by_call, defaults)]
    assert flows[0].arguments == flows[1].arguments == {"month": "9"}
    assert flows[2].arguments == (await flow(scheduler, defaults)).arguments
    with pytest.raises(ArgumentsError, match="the call of the flow MonthEnd has the arguments"):
        await scheduler.start_flow(month_end(), {"month": "9"})


def test_the_client_starts_a_call_of_a_flow(migrated_url: str):
    settings = Settings(database_url=migrated_url, migrate_on_start=False)
    scheduler = Scheduler(settings, jobs_package="flows_rig")
    with Client(scheduler) as client:
        flow_id = client.start_flow(month_end(month="9"))
        started = scheduler.call_now(flow(scheduler, flow_id))
    assert started.arguments == {"month": "9"}


async def test_steps_whose_arguments_do_not_fit_are_found_at_the_start(
    scheduler: Scheduler, monkeypatch
):
    assert [item for item in scheduler.check_jobs() if "step " in item.cause] == []
    project = flows_rig.project()
    steps = {name: dict(step) for name, step in project.flows["MonthEnd"]["steps"].items()}
    steps["import"]["arguments"] = {"mnth": "9"}
    flows = {**project.flows, "MonthEnd": {**project.flows["MonthEnd"], "steps": steps}}
    monkeypatch.setattr(
        "targcc_scheduler.project._configured", dataclasses.replace(project, flows=flows)
    )
    [found] = [item for item in scheduler.check_jobs() if "step " in item.cause]
    assert found.job == "MonthEnd"
    assert found.cause.startswith("step import of the flow MonthEnd: ")
    assert "mnth" in found.cause
    assert found.advice == "change the step's arguments in targcc.yaml, or those of ImportOrders"
    assert "flows_rig.py:" in found.place
    assert found.fails


async def test_a_flow_goes_from_step_to_step(scheduler: Scheduler):
    HELD.clear()
    begun = await scheduler.start_flow("MonthEnd", {"month": "9"}, by=DANA)
    try:
        for _ in range(3_000):
            load = next(
                candidate
                for candidate in (await flow(scheduler, begun)).steps
                if candidate.name == "load"
            )
            if load.runs == {"succeeded": 2, "running": 1}:
                break
            await asyncio.sleep(0.01)
        half = await flow(scheduler, begun)
        assert (states(half)["load"], states(half)["report"]) == ("running", "waiting")
        await all_is_old(scheduler)
        removed = await scheduler.prune(days=30, keep_last=0)
        # later steps read the results of earlier steps
        assert (removed["runs"], removed["attempts"]) == (0, 0)
    finally:
        HELD.set()
    first = await over(scheduler, begun)
    assert first.state == "succeeded"
    job = scheduler.definitions["MonthEnd"]
    assert (job.schedule_text, job.overlap) == ("0 2 1 * *", "skip")
    assert SEEN[0] == "import 9"
    assert sorted(SEEN[1:4]) == [f"load in/9-{number}" for number in range(3)]
    assert SEEN[4:] == ["report [3, 13, 23]"]
    assert states(first) == {
        "import": "succeeded",
        "load": "succeeded",
        "report": "succeeded",
        "empty": "skipped",
        "sorry": "skipped",
    }
    assert {step.name: dict(step.runs) for step in first.steps if step.runs} == {
        "import": {"succeeded": 1},
        "load": {"succeeded": 3},
        "report": {"succeeded": 1},
    }
    SEEN.clear()
    plain = Client(scheduler)
    begun = await asyncio.to_thread(plain.start_flow, "MonthEnd", {"month": "empty"})
    empty = await over(scheduler, begun)
    assert sorted(SEEN) == ["import empty", "report []", "tell nothing came"]
    assert states(empty)["load"] == "succeeded"
    with pytest.raises(ArgumentsError):
        await scheduler.start_flow("MonthEnd", {"mouth": "9"})
    with pytest.raises(UnknownFlow, match="MonthEnd"):
        await scheduler.start_flow("MonthBegin")


async def test_a_part_of_a_list_is_not_taken_for_the_list(scheduler: Scheduler):
    ended_flow = await over(
        scheduler, await scheduler.start_flow("MonthEnd", {"month": "m" * 40_000})
    )
    assert SEEN[0].startswith("import mmm")
    step = next(candidate for candidate in ended_flow.steps if candidate.name == "load")
    assert (step.state, step.runs) == ("failed", {})
    assert step.why == "import.files was not kept as it was given: it is too much, or secret"


@pytest.mark.parametrize(
    ("most", "step", "why"),
    [
        (60, "load", "for_each: the arguments of 3 runs would have more than 60 characters"),
        (20, "load", "the metadata of import would have more than 20 characters"),
    ],
)
async def test_a_step_fails_whose_runs_nobody_could_hold(
    scheduler: Scheduler, monkeypatch, most: int, step: str, why: str
):
    monkeypatch.setattr("targcc_scheduler.features.flows.effects.MOST_CHARACTERS", most)
    ended_flow = await over(scheduler, await scheduler.start_flow("MonthEnd", {"month": "9"}))
    assert {entry.name: entry.why for entry in ended_flow.steps}[step] == why
    assert states(ended_flow)[step] == "failed"
    assert SEEN == ["import 9", "tell 9 failed"]


async def test_what_fails_is_dealt_with_and_done_again(scheduler: Scheduler):
    run_id = await scheduler.trigger("MonthEnd", {"month": "wrong"}, by=DANA)
    await scheduler.wait(run_id, 40)
    match = await scheduler.read(lambda db: flow_of_run(db, run_id))
    assert match is not None
    flow_id, name, step = match
    assert (name, step) == ("MonthEnd", None)
    failed = await over(scheduler, flow_id)
    assert failed.state == "failed"
    assert failed.created_by == str(DANA)
    assert SEEN[-1] == "tell wrong failed"
    assert states(failed)["report"] == "cancelled"
    assert {step.name: step.why for step in failed.steps}["report"] == "step load failed"
    query = sa.select(job_run.c.DueAt, job_run.c.ExpiresAt).where(
        job_run.c.JobName == "TellSomebody"
    )
    [(due, expires)] = await scheduler.read(lambda db: db.execute(query))
    assert expires - due == timedelta(hours=1)  # the deadline of the step's job
    with pytest.raises(FlowStateError, match="no step 'lod'"):
        await scheduler.rerun_flow(flow_id, "lod")
    SEEN[:] = ["mended"]
    await scheduler.rerun_flow(flow_id, by=DANA)
    mended = await over(scheduler, flow_id)
    assert (mended.state, states(mended)["sorry"]) == ("succeeded", "skipped")
    assert [entry for entry in SEEN if "import" in entry or "tell" in entry] == []
    assert SEEN[-1] == "report [2, 12]"
    assert sum(next(entry for entry in mended.steps if entry.name == "load").runs.values()) == 2
    with pytest.raises(FlowStateError, match="nothing of flow"):
        await scheduler.rerun_flow(flow_id)


@pytest.mark.slow
async def test_a_flow_is_cancelled_with_its_runs(scheduler: Scheduler):
    await scheduler.pause_queue("default", by=DANA)
    flow_id = await scheduler.start_flow("MonthEnd")
    run_id = await scheduler.trigger("MonthEnd", by=DANA)
    begin = {"arguments": {}, "by": "System"}
    beside = await scheduler.start_flow_of_run("MonthEnd", run_id, alone=True, **begin)
    assert beside == (flow_id, False)
    own = await scheduler.start_flow_of_run("MonthEnd", run_id, alone=False, **begin)
    assert own[0] != flow_id
    again = await scheduler.start_flow_of_run("MonthEnd", run_id, alone=True, **begin)
    assert again == own
    await scheduler.cancel_flow(own[0])
    await scheduler.cancel(run_id, by=DANA)
    with pytest.raises(FlowStateError, match="is running"):
        await scheduler.rerun_flow(flow_id, "import")
    await scheduler.cancel_flow(flow_id, by=DANA)
    ended_flow = await over(scheduler, flow_id)
    assert ended_flow.state == "cancelled"
    assert set(states(ended_flow).values()) == {"cancelled"}
    with pytest.raises(FlowStateError, match="nothing to cancel"):
        await scheduler.cancel_flow(flow_id)
    await scheduler.rerun_flow(flow_id, "import", by=DANA)
    [step] = [
        candidate
        for candidate in (await flow(scheduler, flow_id)).steps
        if candidate.name == "import"
    ]
    assert step.last_run is not None
    await scheduler.delete(step.last_run, by=DANA)  # the flow is not notified
    assert scheduler.node is not None
    await scheduler.call(scheduler.node.maintenance.sweep_once())
    await scheduler.resume_queue("default", by=DANA)
    swept = await over(scheduler, flow_id)
    assert (swept.steps[0].why, swept.state) == ("its runs were deleted", "failed")
    assert states(swept)["sorry"] == "succeeded"
    await scheduler.rerun_flow(flow_id, "import", by=DANA)
    assert (await over(scheduler, flow_id)).state == "succeeded"


@pytest.mark.soak
async def test_steps_have_their_runs_once_through_kills(migrated_url: str):
    async with schedulers(migrated_url, "flows_rig") as make:
        scheduler = make()
        run_id = await scheduler.trigger("MonthEnd", {"month": "9"}, by=DANA)
        environment = {
            **os.environ,
            **{f"TARGCC_{key.upper()}": str(value) for key, value in QUICK.items()},
            "TARGCC_LOST_AFTER_SECONDS": "1",
            "TARGCC_DATABASE_URL": migrated_url,
            "PYTHONPATH": os.pathsep.join([PATH, str(HERE)]),
        }
        # at the start, at the end of `import`, at the end of `load`, never
        for write in (1, 2, 2, 0):
            process = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
                [sys.executable, str(HERE / "flows_rig.py"), str(write)], env=environment
            )
            try:
                if write:
                    await until(lambda one=process: one.poll() is not None, "it dies")
                    assert process.returncode == 9
                else:
                    assert await scheduler.wait(run_id, 60) is RunState.SUCCEEDED
                    match = await scheduler.read(lambda db: flow_of_run(db, run_id))
                    assert match is not None
                    assert (await over(scheduler, match[0])).state == "succeeded"
            finally:
                process.kill()
                process.wait()
        ledger = Ledger(migrated_url)
        rows = ledger.rows(job_run.select().order_by(job_run.c.Id))
        assert Counter(row.Step for row in rows) == {None: 1, "import": 1, "load": 3, "report": 1}
        ends = {row.Step: [] for row in rows}
        for row in rows:
            ends[row.Step].append((row.StartedAt, row.CompletedAt))
        for before, after in pairwise(["import", "load", "report"]):
            assert max(end for _, end in ends[before]) <= min(start for start, _ in ends[after])
        ledger.assert_sound()


@pytest.mark.slow
async def test_people_and_programs_see_flows(site: Site, database_url, monkeypatch):
    person, viewer, program = await site.user(), await site.user("viewer"), await site.program()
    assert "No flows yet" in await viewer.page("/jobs/flows")
    assert (await program.post("/api/flows", json={"name": "Nix"})).status_code == 404
    begun = (await program.post("/api/flows", json={"name": "MonthEnd"})).json()
    assert (begun["id"], begun["state"], begun["steps"][0]["runs"]) == (
        1,
        "running",
        {"enqueued": 1},
    )
    page = await viewer.page("/jobs/flows/1")
    after = re.findall(r'<td[^>]* data-label="After">(.*?)</td>', page)
    assert after[0] == ""  # a card shows no label for an empty cell
    assert "import" in after[1]
    assert '<title id="flow-title">Steps of the flow MonthEnd</title>' in page
    assert page.count('class="flow-line"') == 5
    assert page.count('class="flow-box"') == 5
    assert "/flows/1/cancel" not in page
    assert "Month End #1" in await viewer.page("/jobs/flows")
    assert 'href="/jobs/flows/1"' in await viewer.page("/jobs/runs/1")
    assert (await viewer.get("/jobs/flows/2")).status_code == 404
    await person.send("/jobs/flows/1/cancel")
    page = await person.page("/jobs/flows/1")
    assert "Flow 1 is cancelled" in page
    assert "Rerun from here" in page
    answer = await program.post("/api/flows/1/cancel")
    assert answer.status_code == 409
    await person.send("/jobs/flows/1/rerun?step=import")
    assert (await program.get("/api/flows/1")).json()["state"] == "running"
    assert (await program.post("/api/flows/1/rerun", json={"from_step": "load"})).status_code == 409
    assert [row["id"] for row in (await program.get("/api/flows?name=MonthEnd")).json()] == [1]
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)

    async def targcc(*words: str):
        return await asyncio.to_thread(
            CliRunner().invoke, main, ["flow", *words], catch_exceptions=False
        )

    result = await targcc("show", "1")
    assert "import.count == 0" not in result.output
    assert "waiting" in result.output
    for words in (["list"], ["cancel", "1"], ["rerun", "1"], ["start", "MonthEnd"]):
        result = await targcc(*words)
        assert (result.exit_code, "MonthEnd" in result.output) == (0, True), result.output


async def test_a_unique_flow_is_not_started_while_the_same_one_is_under_way(scheduler: Scheduler):
    await scheduler.pause_queue("default", by=DANA)
    starts = [scheduler.start_flow("DayEnd", {"note": str(number)}) for number in range(4)]
    first, *others = await asyncio.gather(*starts)
    assert set(others) == {first}
    friday = await scheduler.start_flow("DayEnd", {"day": "friday"})
    assert friday != first
    started = await scheduler.trigger("DayEnd", {"day": "friday"}, by=DANA)
    again = await scheduler.trigger("DayEnd", {"day": "friday", "note": "x"}, by=DANA)
    assert (again, again.existing) == (started, True)
    await scheduler.cancel(started, by=DANA)
    beside = await scheduler.start_flow_of_run(
        "DayEnd", started, {"day": "friday"}, alone=False, by="System"
    )
    assert beside == (friday, False)
    await scheduler.resume_queue("default", by=DANA)
    for flow_id in (first, friday):
        assert (await over(scheduler, flow_id)).state == "succeeded"
    later = await scheduler.start_flow("DayEnd")
    assert later not in {first, friday}
    assert (await over(scheduler, later)).state == "succeeded"


@pytest.mark.parametrize(
    ("state", "runs", "text"),
    [
        ("failed", {"failed": 1, "succeeded": 2}, "1 of 3 failed"),
        ("failed", {"failed": 1}, "failed"),
        ("failed", {}, "failed"),
        ("running", {"running": 2, "succeeded": 1}, "running"),
    ],
)
def test_a_failed_step_of_several_runs_names_the_failed_ones(state, runs, text):
    step = FlowStep("load", "Load", (), "success", StepState(state), "", runs)
    assert step_word(step) == text
