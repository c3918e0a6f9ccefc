"""Keys, idempotent calls and waiting runs of renamed jobs, on SQLite and PostgreSQL."""

import pytest
import sqlalchemy as sa
from guarantee_rig import Ledger, schedulers
from rt_tools import until
from targcc_scheduler.core.errors import IdempotencyError
from targcc_scheduler.db.tables import job_link, job_run

SOURCE = """
from targcc_scheduler import job

@job(name="{report}", aliases={reports})
async def report() -> None: ...

@job(name="Other")
async def other() -> None: ...

@job(name="Both", after=["{report}", "Other"])
async def both() -> None: ...

@job(name="{mail}", aliases={mails}, unique="to")
async def mail(to: str) -> None: ...
"""
BEFORE = {"report": "Report", "reports": (), "mail": "Mail", "mails": ()}
AFTER = {"report": "Takings", "reports": ("Report",), "mail": "Letters", "mails": ("Mail",)}


@pytest.fixture
async def start(migrated_url, tmp_path, monkeypatch):
    """Return a function that starts an idle node of a release with these job names."""
    monkeypatch.syspath_prepend(tmp_path)
    async with schedulers(migrated_url, "") as make:

        async def begin(names):
            package = f"tied_{tmp_path.name}_{names['mail']}"
            (tmp_path / f"{package}.py").write_text(SOURCE.format(**names), encoding="utf-8")
            scheduler = make(jobs_package=package)
            await scheduler.start(work=False)
            return scheduler

        yield begin


async def test_keys_and_places_follow_a_job_to_its_new_name(start, migrated_url):
    ledger = Ledger(migrated_url)
    old = await start(BEFORE)
    other = await old.enqueue("Other")
    first = await old.schedule("Mail", delay="1d", to="dana", idempotency_key="a mail")
    await old.stop()
    new = await start(AFTER)
    mails = sa.select(job_run).where(job_run.c.JobName == "Mail")
    await until(lambda: not ledger.rows(mails))
    again = await new.schedule("Letters", delay="1d", to="dana")
    named = await new.schedule("Letters", delay="1d", to="dana", idempotency_key="a mail")
    assert [(run_id, run_id.existing) for run_id in (again, named)] == [(first, True)] * 2
    with pytest.raises(IdempotencyError):
        await new.schedule("Letters", delay="1d", to="erin", idempotency_key="a mail")
    takings = await new.enqueue("Takings")
    [both] = ledger.rows(sa.select(job_run).where(job_run.c.JobName == "Both"))
    links = ledger.rows(sa.select(job_link.c.ParentKind, job_link.c.ParentId))
    assert sorted(map(tuple, links)) == [("run", other), ("run", takings)]
    assert both.State == "awaiting"
