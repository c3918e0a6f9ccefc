"""Change options of deployed jobs on all nodes, until a reset or an expiry time."""

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from rt_tools import until
from targcc_scheduler import JobContext, JobResult, Settings, job
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.actor import Actor
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.core.errors import OverrideError, UnknownQueue
from targcc_scheduler.core.search_language import only
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.audit.queries import audit
from targcc_scheduler.features.overrides import actions as override_actions
from targcc_scheduler.features.overrides.actions import Wish
from targcc_scheduler.features.overrides.loops import OverrideWatch
from targcc_scheduler.features.triage.why import why_job
from targcc_scheduler.kernel.engine.sqlite import EmbeddedEngine
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.jobs.registry import JobRegistry
from targcc_scheduler.kernel.node import slots
from targcc_scheduler.kernel.node.recurring import RecurringScheduler
from targcc_scheduler.kernel.queries.run_search import RunFilter, list_runs
from targcc_scheduler.kernel.worker.node_services import NodeServices
from targcc_scheduler.operations import Call

DANA = Actor("CLI", "dana")
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ran = threading.Event()


@job("0 2 1 1 *", timezone="UTC")
class YearlyJob:
    """Runs once a year."""

    def execute(self, _ctx: JobContext, days: int = 7) -> JobResult:
        ran.set()
        return JobResult.success(f"{days} days")


@job()
class AskedJob:
    """Run on request."""

    def execute(self, _ctx: JobContext, days: int) -> JobResult:
        return JobResult.success(f"{days} days")


async def runs_of(scheduler, name):
    return (await scheduler.read(lambda db: list_runs(db, RunFilter(search=only(job=name))))).runs


async def test_another_process_changes_a_job_and_resets_it(make_scheduler):
    """The node applies changes without a restart: slots, queue and arguments; after the reset the code's values apply."""
    ran.clear()
    node, desk = make_scheduler(), make_scheduler()
    await node.start()
    await desk.start(work=False, schedule=False)
    wish = Wish(
        {"schedule": "* * * * * *", "arguments": {"days": 3}, "queue": "critical", "priority": 4},
        "the auditors want it",
    )
    changed = await override_actions.override(desk, desk.find("Yearly"), wish, DANA)
    assert (changed.queue, changed.schedule_text) == ("critical", "* * * * * *")

    assert await asyncio.to_thread(ran.wait, 30)
    first = next(item for item in await runs_of(desk, "Yearly") if item.started_at is not None)
    await desk.wait(first.id, 30)
    first = next(item for item in await runs_of(desk, "Yearly") if item.id == first.id)
    assert (first.message, first.queue, first.priority) == ("3 days", "critical", 4)
    now = desk.clock.now()
    explanation = await desk.read(
        lambda db: why_job(db, "Yearly", desk.definitions, now, lost_after=30)
    )
    [reason] = [item for item in explanation.reasons if item.kind == "override"]
    assert "instead of 0 2 1 1 * in the code: changed by dana" in reason.text
    gone = await override_actions.reset(desk, desk.find("Yearly"), [], DANA)
    assert gone == ["arguments", "priority", "queue", "schedule"]
    await until(lambda: node.definitions["Yearly"].schedule_text == "0 2 1 1 *")
    entries = await desk.read(lambda db: audit(db, limit=20))
    assert [item.action for item in entries].count("override") == 4
    assert any("was 0 2 1 1 *; the auditors want it" in (item.detail or "") for item in entries)
    assert [item.action for item in entries].count("reset override") == 4


class World:
    """One database, one clock, and nodes that refresh on request."""

    def __init__(self, url):
        self.store, self.clock, self.told = Store(url), ManualClock(NOON), []

    def node(self):
        registry = JobRegistry("no_such_package")
        registry.add(define(YearlyJob, "0 * * * *", timezone="UTC"))
        settings = Settings(_env_file=None)
        engine = EmbeddedEngine(None, self.clock)
        services = NodeServices(self.store, engine, self.clock, settings, self.told.append)
        watch = OverrideWatch(registry, self.clock)
        slots_of = RecurringScheduler(services, registry.definitions, str, (watch,))
        watch.changed = slots_of.wake
        return slots_of, watch, registry

    async def put(self, registry, wish):
        """Override like :func:`overriding.override`, without a whole process."""
        held = registry.find("Yearly")
        added = override_actions._overrides(held, wish, "dana", self.clock.now())
        then = override_actions.effective(held.coded, added, override_actions.current())
        async with self.store.write() as connection:
            call = Call(connection, EmbeddedEngine(None, self.clock), self.clock.now())
            await override_actions._put(call, held, then, added, DANA)

    async def row(self):
        async with self.store.read() as connection:
            return (await slots.load(connection))["Yearly"]


@pytest.fixture
async def world(settings):
    made = World(settings.database_url)
    yield made
    await made.store.dispose()


async def test_no_node_makes_a_slot_of_the_old_schedule_and_an_end_loses_none_of_the_code(world):
    late, late_watch, registry = world.node()
    other, watch, _ = world.node()
    assert await late.tick() == NOON + HOUR
    await other.tick()
    await world.put(registry, Wish({"schedule": "30 * * * *"}, "why not", NOON + 3 * HOUR))
    world.clock.set(NOON + HOUR)
    await late.tick()  # the node has not seen the change yet
    assert (await world.row()).last_slot == NOON
    await watch.look(world.store, ends=True)
    assert await other.tick() == NOON + HOUR * 1.5
    await late_watch.look(world.store, ends=True)
    world.clock.set(NOON + HOUR * 1.5)
    await late.tick()
    assert ((await world.row()).last_slot, (await world.row()).text) == (
        world.clock.now(),
        "30 * * * * UTC",
    )
    world.clock.set(NOON + HOUR * 4.5)  # no node was up at the end of the override
    await watch.look(world.store, ends=True)
    assert ((await world.row()).last_slot, (await world.row()).text) == (
        NOON + HOUR * 3,
        "0 * * * * UTC",
    )
    assert await other.tick() == NOON + HOUR * 5
    # the missed slot of the code's schedule was made up for
    assert (await world.row()).last_slot == NOON + HOUR * 4
    await late_watch.look(world.store, ends=True)
    async with world.store.read() as connection:
        actions = [entry.action for entry in await audit(connection, limit=9)]
    assert actions == ["override ended", "override"]


async def test_a_node_that_looks_too_early_takes_no_schedule_back(world, monkeypatch):
    """A person changes the job between the node's refresh and its transaction."""
    node, watch, registry = world.node()
    await node.tick()
    await world.put(registry, Wish({"schedule": "30 * * * *"}, "why not"))

    async def sees_nothing(*_, **__):
        """Return the state before the change."""

    with monkeypatch.context() as early:
        early.setattr(watch, "look", sees_nothing)
        node.wake()
        await node.tick()
        assert (await world.row()).text == "30 * * * * UTC"
    assert await node.tick() == NOON + HOUR / 2


async def test_what_cannot_be_done_is_refused_before_anything_is_changed(make_scheduler):
    scheduler = make_scheduler()
    await scheduler.start(work=False, schedule=False)
    yearly, on_demand = scheduler.find("Yearly"), scheduler.find("Asked")
    past = scheduler.clock.now() - HOUR
    for item, wish, kind, message in (
        (yearly, Wish({"queue": "nowhere"}, "x"), UnknownQueue, "default, critical"),
        (yearly, Wish({"priority": 1}, " "), OverrideError, "say why"),
        (yearly, Wish({}, "x"), OverrideError, "say what"),
        (yearly, Wish({"priority": 1}, "x", past), OverrideError, "ends in the future"),
        (yearly, Wish({"arguments": {"weeks": 1}}, "x"), OverrideError, "takes no weeks"),
        (on_demand, Wish({"schedule": "0 2 * * *"}, "x"), OverrideError, "only when asked"),
    ):
        with pytest.raises(kind, match=message):
            await override_actions.override(scheduler, item, wish, DANA)
    assert not any(item.overrides for item in scheduler.definitions.values())
    await override_actions.override(
        scheduler, on_demand, Wish({"arguments": {"days": 2}}, "x"), DANA
    )
    # without the override, the call would need an argument
    run = await scheduler.trigger("Asked", by=DANA)
    assert [item.arguments for item in await runs_of(scheduler, "Asked") if item.id == run] == [
        {"days": 2}
    ]


@pytest.mark.slow
def test_the_command_line_has_all_of_it(settings, request, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", request.module.__name__)

    def targcc(*command, exit_code=0, **options):
        done = CliRunner().invoke(main, command, **options)
        assert done.exit_code == exit_code, done.output
        return done.output

    wish = ("override", "set", "yearly", "--reason", "late data")
    shown = targcc(*wish, "--schedule", "0 4 1 1 *", "--until", "2d", "--dry-run")
    assert "No slot of the job moves" in shown  # the override ends before the next slot
    shown = targcc(*wish, "--schedule", "0 4 1 1 *", "--arg", "days=14", input="n\n", exit_code=1)
    assert "moved" in shown
    assert targcc("override", "list") == "Nothing is changed: the code's values hold.\n"
    targcc(*wish, "--schedule", "0 4 1 1 *", "--arg", "days=14", "--yes")
    assert "schedule 0 4 1 1 *, by " in targcc("job", "info", "Yearly")
    [schedule, arguments] = json.loads(targcc("override", "list", "yearly", "--json"))
    assert (schedule["value"], schedule["code"]) == ("0 4 1 1 *", "0 2 1 1 *")
    assert arguments["value"] == {"days": 14}
    assert '    cron: "0 4 1 1 *"' in targcc("override", "code", "Yearly")
    started = json.loads(targcc("job", "run", "Yearly", "--json"))["run_id"]
    again = targcc("job", "run", "Yearly", "--like", str(started), "--json")
    run = json.loads(targcc("run", "show", str(json.loads(again)["run_id"]), "--json"))
    assert run["arguments"] == {"days": 14}
    targcc("job", "run", "Asked", "--like", str(started), exit_code=2)
    assert "schedule of Yearly" in targcc("override", "reset", "Yearly", "schedule")
    assert "nothing of Yearly" in targcc("override", "reset", "Yearly", "schedule")
    targcc("override", "set", "Yearly", "--reason", "x", exit_code=2)
