"""Follow-ups of an alert on both databases and two nodes: recoveries, quiet hours, escalation, the digest."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from alert_sinks import plain
from rt_tools import QUICK, until
from targcc_scheduler import Alerts, JobContext, JobResult, RunState, Settings, job
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.db.tables import job_alert_thread, job_failure, job_notice, job_run
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.alerts import model as alert_model
from targcc_scheduler.features.alerts.delivery import AlertSender
from targcc_scheduler.features.alerts.digest import digest_of
from targcc_scheduler.features.alerts.loops import AlertWatch
from targcc_scheduler.features.alerts.policy import AlertPolicy
from targcc_scheduler.kernel import error_groups, statistics
from targcc_scheduler.kernel import pauses as calendar_model
from targcc_scheduler.kernel.alert_events import AlertEvent, node_event
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.pauses import Window
from targcc_scheduler.kernel.runs.values import Ending
from targcc_scheduler.project import Project

TEN_PAST_TWO = datetime(2026, 6, 10, 0, 10, tzinfo=UTC)  # a Wednesday, Berlin time
ERROR = "ValueError: no orders"
OPS = Alerts(email=("ops@example.com",))


def _export():
    """A job's work."""


class Night:
    """Two nodes on one database, a clock that the test sets, and helpers that make runs fail or succeed."""

    def __init__(self, url, mail_server, alerts=None, oncall=None, job_alerts=OPS):
        self.clock = ManualClock(TEN_PAST_TWO)
        settings = Settings(
            _env_file=None,
            database_url=url,
            smtp_host="127.0.0.1",
            smtp_port=mail_server.port,
            smtp_from="jobs@example.com",
            base_url="https://jobs.example.com",
        )
        project = Project(
            "rig-jobs", "rig_jobs", "Europe/Berlin", alerts=alerts or {}, oncall=oncall or {}
        )
        self.job = define(
            _export, "0 2 * * *", name="ExportInvoices", display_name="Export Invoices",
            alerts=job_alerts,
        )  # fmt: skip
        self.stores = [Store(url), Store(url)]
        policy = AlertPolicy.of(project)
        self.senders = [
            AlertSender(store.engine, settings, self.clock, policy=policy) for store in self.stores
        ]
        self.watches = [
            AlertWatch(store, sender, {self.job.name: self.job})
            for store, sender in zip(self.stores, self.senders, strict=True)
        ]
        self.mails = mail_server.handler.mails

    async def run(self, state, arguments=None):
        """Insert a run that has just ended; return the run id."""
        now, cause = self.clock.now(), fingerprint_of(self.job.name, ERROR)
        failed = state == RunState.FAILED
        row = {
            "JobName": self.job.name, "JobType": "Recurring", "State": state, "Queue": "default",
            "DueAt": now, "CreatedAt": now, "CompletedAt": now, "TriggeredBy": "System",
            "ArgumentsJson": arguments, "Cause": cause.key if failed else None,
        }  # fmt: skip
        async with self.stores[0].write() as db:
            if failed:
                await error_groups.note(db, [error_groups.Seen(cause, now)])
            return (await db.execute(sa.insert(job_run).values(row))).inserted_primary_key[0]

    async def fail(self, arguments=None):
        run_id = await self.run(RunState.FAILED, arguments)
        await self.tell("failure", run_id=run_id)

    async def tell(self, kind, run_id=None, message=ERROR, **more):
        await self.senders[0](AlertEvent(kind, self.job, run_id, message, **more))

    async def look(self, **passes):
        """Advance the clock, let both nodes check at once, and return the number of mails sent."""
        self.clock.advance(timedelta(**passes))
        before, now = len(self.mails), self.clock.now()
        async with self.stores[0].read() as db:
            noted = await error_groups.noted(db)
        await asyncio.gather(*(watch.once(noted, now) for watch in self.watches))
        return len(self.mails) - before

    async def count(self, table):
        async with self.stores[0].read() as db:
            return await db.scalar(sa.select(sa.func.count()).select_from(table))

    async def close(self):
        for store in self.stores:
            await store.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
async def night(request, mail_server):
    fixture = "database" if request.param == "sqlite" else "cluster"
    made = []

    def make(**said):
        made.append(Night(request.getfixturevalue(fixture).url, mail_server, **said))
        return made[-1]

    yield make
    for rig in made:
        await rig.close()


async def test_a_job_whose_reruns_wait_does_not_work_again(night):
    rig = night()
    await rig.fail('{"customer": 1}')
    await rig.fail('{"customer": 2}')
    failed = sa.select(job_run.c.Id).where(job_run.c.State == RunState.FAILED)
    async with rig.stores[0].write() as db:
        first, second = (await db.scalars(failed.order_by(job_run.c.Id))).all()
        handled = {"HandledAt": rig.clock.now(), "HandledBy": "dana"}
        await db.execute(sa.update(job_run).values(handled))
    rerun = await rig.run(RunState.ENQUEUED, '{"customer": 1}')
    done = await rig.run(RunState.SUCCEEDED, '{"customer": 2}')
    async with rig.stores[0].write() as db:
        for again, before in ((rerun, first), (done, second)):
            change = sa.update(job_run).where(job_run.c.Id == again)
            await db.execute(change.values(RetryOf=before))
    assert await rig.look(minutes=1) == 0
    async with rig.stores[0].write() as db:
        change = sa.update(job_run).where(job_run.c.Id == rerun)
        await db.execute(change.values(State=RunState.SUCCEEDED))
    assert await rig.look(minutes=1) == 1
    assert "works again after 2 failures" in rig.mails[-1]["Subject"]


async def test_the_digest_does_not_call_a_job_well_whose_reruns_wait(night):
    rig = night()
    since = rig.clock.now() - timedelta(hours=1)
    failed = await rig.run(RunState.FAILED)
    ending = Ending(job=rig.job.name, at=rig.clock.now(), outcome=RunState.FAILED)
    rig.clock.advance(timedelta(minutes=5))
    rerun = await rig.run(RunState.ENQUEUED)
    async with rig.stores[0].write() as db:
        await statistics.add(db, [ending], shard=0)
        change = sa.update(job_run).where(job_run.c.Id == rerun)
        await db.execute(change.values(RetryOf=failed))
        handled = sa.update(job_run).where(job_run.c.Id == failed)
        await db.execute(handled.values(HandledAt=rig.clock.now()))
    assert "Export Invoices failed" in await happened(rig, since)
    async with rig.stores[0].write() as db:
        done = {"State": RunState.SUCCEEDED, "CompletedAt": rig.clock.now()}
        await db.execute(change.values(**done))
    assert "Export Invoices failed, and works again" in await happened(rig, since)


async def happened(one, since):
    """Return the lines of the digest's section about events since the last digest."""
    between = (since, one.clock.now())
    async with one.stores[0].read() as db:
        notice = await digest_of(db, [one.job], between, page="", zone=ZoneInfo("UTC"))
    [section] = [section for section in notice.sections if section.title.startswith("Since")]
    return [text for text, _ in section.lines]


async def test_a_success_from_before_the_failure_is_no_recovery(night):
    rig = night()
    failed = await rig.run(RunState.FAILED)
    await rig.run(RunState.SUCCEEDED)
    rig.clock.advance(timedelta(minutes=5))
    async with rig.stores[0].write() as db:
        change = sa.update(job_run).where(job_run.c.Id == failed)
        await db.execute(change.values(CompletedAt=rig.clock.now()))
    await rig.tell("failure", run_id=failed)
    assert await rig.look(minutes=1) == 0
    await rig.run(RunState.SUCCEEDED)
    assert await rig.look(minutes=1) == 1


async def test_people_who_were_told_are_told_once_that_it_works_again_in_the_same_thread(night):
    rig = night()
    for customer in ("1", "2"):
        await rig.fail(f'{{"customer": {customer}}}')
        rig.clock.advance(timedelta(hours=1))
    assert await rig.look() == 0
    await rig.run(RunState.SUCCEEDED, '{"customer": 2}')
    assert await rig.look(minutes=1) == 0  # customer 1 has not succeeded yet
    rig.clock.set(TEN_PAST_TWO + timedelta(hours=3, minutes=30))
    await rig.run(RunState.SUCCEEDED, '{"customer": 1}')
    assert await rig.look(minutes=1) == 1
    assert await rig.look(minutes=1) == 0
    first, second, again = rig.mails
    assert again["Subject"] == "Export Invoices works again after 2 failures, 02:10-04:10"
    assert first["References"] == second["References"] == again["References"]
    assert len({mail["Message-ID"] for mail in rig.mails}) == 3
    assert again["To"] == "ops@example.com"
    assert await rig.count(job_alert_thread) == await rig.count(job_notice) == 0

    quiet = night(alerts={"recovered": False})
    await quiet.fail()
    await quiet.run(RunState.SUCCEEDED)
    assert await quiet.look(minutes=1) == 0
    assert await quiet.count(job_alert_thread) == 0


async def test_what_was_late_or_lost_is_well_again_when_it_is(night):
    rig = night(
        job_alerts=Alerts(on=("late",), email=("ops@example.com",)),
        alerts={"email": ["ops@example.com"]},
    )
    async with rig.stores[0].write() as db:
        await error_groups.note_issue(db, rig.job.name, "at_least", "none", rig.clock.now())
        await error_groups.note_issue(db, "web-2", error_groups.NODE, "process 7", rig.clock.now())
    await rig.tell("late", message="expected 1 success", about="at_least")
    await rig.senders[0](node_event("node web-2:7 is lost", server="web-1", about="web-2"))
    await rig.senders[0](node_event("the clock of web-1 was set back", server="web-1"))
    assert await rig.look(minutes=20) == 0
    async with rig.stores[0].write() as db:
        await error_groups.remove(db, rig.job.name, "at_least")
        # resolved by a person while the node is still down
        await error_groups.remove(db, "web-2", error_groups.NODE)
    assert await rig.look(minutes=20) == 1
    assert rig.mails[-1]["Subject"] == "Export Invoices is on time again, 02:10-02:50"
    assert await rig.count(job_alert_thread) == 0


async def test_quiet_hours_hold_what_is_not_urgent_and_end_in_one_message(night):
    rig = night(
        alerts={"quiet": [{"start": "22:00", "end": "07:00"}]},
        job_alerts=Alerts(on=("success", "failure"), email=("ops@example.com",)),
    )
    await rig.tell("success", message="17 orders")
    rig.clock.advance(timedelta(hours=1))
    await rig.tell("success", message="18 orders")
    assert (rig.mails, await rig.look()) == ([], 0)
    await rig.fail()  # urgent: ignores quiet hours
    assert [mail["Subject"] for mail in rig.mails] == ["Export Invoices failed"]
    await rig.run(RunState.SUCCEEDED)
    assert await rig.look(minutes=1) == 0  # the recovery notice waits too
    rig.clock.set(datetime(2026, 6, 10, 5, 0, tzinfo=UTC))
    assert await rig.look() == 1
    held = rig.mails[-1]
    assert held["Subject"] == "3 alerts from the quiet hours"
    text = plain(held)
    assert ("17 orders" in text, "18 orders" in text, "works again" in text) == (True, True, True)
    await rig.tell("success", message="19 orders")
    assert rig.mails[-1]["Subject"] == "Export Invoices succeeded"  # quiet hours are over


async def test_a_message_that_a_dead_node_had_claimed_is_sent_again_with_the_same_id(
    night, monkeypatch
):
    rig = night(
        alerts={"quiet": [{"start": "22:00", "end": "07:00"}]},
        job_alerts=Alerts(on=("missed",), email=("ops@example.com",)),
    )
    await rig.tell("missed", message="its slot passed")
    rig.clock.set(datetime(2026, 6, 10, 5, 0, tzinfo=UTC))

    async def dies(*_):
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr(alert_model, "sent", dies)
        with pytest.raises(ConnectionResetError):
            await rig.senders[0].send_due()  # the node dies after the mail, before it is recorded
    sent = len(rig.mails)
    assert await rig.look() == 0
    assert await rig.look(seconds=alert_model.CLAIM.total_seconds() + 1) == 1
    assert rig.mails[-1]["Message-ID"] == rig.mails[sent - 1]["Message-ID"]
    assert await rig.look(hours=1) == 0


async def test_nobody_takes_it_up_so_others_are_told_step_by_step_until_somebody_does(night):
    steps = [{"after": "15m", "oncall": True}, {"after": "45m", "email": ["head@example.com"]}]
    people = {"dana": {"email": ["dana@example.com"]}, "noam": {"email": ["noam@example.com"]}}
    rota = [
        {"who": "dana", "days": ["tue"], "start": "20:00", "end": "08:00"},
        {"who": "noam"},
    ]
    rig = night(alerts={"escalation": steps}, oncall={"people": people, "rota": rota})
    await rig.fail()
    assert await rig.look(minutes=14) == 0
    async with rig.stores[0].read() as db:
        [row] = await alert_model.going_on(db)
    assert await rig.look(minutes=2) == 1
    async with rig.stores[0].write() as db:
        assert not await alert_model.escalate(db, row)  # a node that read the row earlier
    assert rig.mails[-1]["To"] == "dana@example.com"  # the shift that began on Tuesday
    assert rig.mails[-1]["Subject"] == "Nobody has taken this up: Export Invoices failed"
    assert rig.mails[-1]["References"] == rig.mails[0]["References"]
    assert await rig.look(minutes=10) == 0
    cause = fingerprint_of(rig.job.name, ERROR).key
    async with rig.stores[0].write() as db:
        await error_groups.change(db, cause, Assignee="dana")
    assert await rig.look(hours=1) == 0
    async with rig.stores[0].write() as db:
        await error_groups.change(db, cause, Assignee=None)
    await rig.fail()  # a new incident
    assert await rig.look(minutes=14) == 0
    rig.clock.set(datetime(2026, 6, 10, 9, tzinfo=UTC))
    assert await rig.look() + await rig.look() == 2  # both steps are due
    assert {mail["To"] for mail in rig.mails[-2:]} == {"noam@example.com", "head@example.com"}
    assert await rig.look(hours=9) == 0
    async with rig.stores[0].write() as db:
        assert await db.scalar(sa.select(job_failure.c.Assignee)) is None


async def test_one_digest_a_morning_says_what_is_wrong_what_happened_and_what_comes(night):
    digest = {"at": "07:30", "days": ["wed", "fri"], "email": ["team@example.com"]}
    rig = night(alerts={"digest": digest})
    await rig.run(RunState.FAILED)
    due = datetime(2026, 6, 10, 5, 30, tzinfo=UTC)
    async with rig.stores[0].write() as db:
        for hours, reason in ((-5, "new disks"), (3, "the switch"), (30, "far away")):
            begins = due + timedelta(hours=hours)
            ends = begins + timedelta(hours=1)
            await calendar_model.add(db, Window(0, begins, ends, ("ledger",), reason, "dana", due))
    for watch in rig.watches:
        watch.look(frozenset(), rig.clock.now())
    rig.clock.set(due - timedelta(seconds=1))
    assert await rig.look() == 0
    assert await rig.look(seconds=20) == 1
    mail = rig.mails[-1]
    assert mail["To"] == "team@example.com"
    assert mail["Subject"].endswith("attention")
    text = plain(mail)
    assert "Export Invoices failed" in text
    past, _, coming = text.partition("The next 24 hours\n  1 run by schedule")
    assert "nothing ran in ledger (new disks)" in past
    assert "nothing starts in ledger (the switch)" in coming
    assert "far away" not in text
    late = AlertWatch(rig.stores[0], rig.senders[0], {rig.job.name: rig.job})
    await late.once(
        frozenset(), rig.clock.now() + timedelta(hours=1)
    )  # a node that has just started
    assert rig.mails[-1] is mail
    assert await rig.look(hours=24) == 0  # a Thursday
    rig.clock.set(due + timedelta(days=2, minutes=1))
    assert await rig.look() == 1


async def test_a_node_with_nothing_open_is_not_woken(night):
    rig = night()
    watch = rig.watches[0]
    async with rig.stores[0].read() as db:
        noted = await error_groups.noted(db)
    watch.look(noted, rig.clock.now())
    assert not watch._wake.is_set()
    await rig.fail()
    async with rig.stores[0].read() as db:
        noted = await error_groups.noted(db)
    watch.look(noted, rig.clock.now())
    assert watch._wake.is_set()


works = {"well": False}


@job("0 0 1 1 *", retries=0, alerts=OPS)
class MendedJob:
    """Fail until the test repairs the job."""

    def execute(self, _ctx: JobContext) -> JobResult:
        if not works["well"]:
            raise ValueError("no orders")
        return JobResult.success("done")


async def test_a_node_says_by_itself_that_a_job_works_again(
    make_scheduler, database, mail_server, monkeypatch
):
    monkeypatch.setattr("targcc_scheduler.features.triage.loops._LATE_SECONDS", 0.2)
    works["well"] = False
    settings = Settings(
        _env_file=None,
        database_url=database.url,
        smtp_host="127.0.0.1",
        smtp_port=mail_server.port,
        **QUICK,
    )
    scheduler = make_scheduler(settings=settings, notify=None)
    await scheduler.start(schedule=False)
    failed = await scheduler.enqueue(MendedJob)
    assert await scheduler.wait(failed, 40) == RunState.FAILED
    mails = mail_server.handler.mails
    await until(lambda: mails)
    works["well"] = True
    assert await scheduler.wait(await scheduler.enqueue(MendedJob), 40) == RunState.SUCCEEDED
    await until(lambda: len(mails) > 1)
    assert mails[1]["Subject"].startswith("Mended works again after 1 failure, ")
    assert mails[1]["References"] == mails[0]["References"]
