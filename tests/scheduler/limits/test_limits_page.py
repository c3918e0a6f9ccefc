"""Run the examples and commands of docs/limits.md."""

import asyncio
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from limits_tools import let_some_have_room
from targcc_gen.spec import load_spec
from targcc_scheduler import JobContext, Scheduler, Settings, job
from targcc_scheduler.cli.main import main

PAGE = (Path(__file__).parents[3] / "docs" / "limits.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
async def scheduler(migrated_sqlite_url, monkeypatch):
    [code] = blocks("python")
    names = {"job": job, "JobContext": JobContext, "__name__": __name__}
    exec(code, names)  # code from the page
    monkeypatch.setitem(globals(), "SyncTenantJob", names["SyncTenantJob"])
    settings = Settings(database_url=migrated_sqlite_url, migrate_on_start=False)
    made = Scheduler(settings, jobs_package=__name__, notify=_ignore)
    yield made
    await made.stop()


async def _ignore(_event: object) -> None:
    """Send no alerts."""


async def test_the_example_keeps_its_limit_and_the_commands_tell(scheduler, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", scheduler.settings.database_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", __name__)
    await scheduler.enqueue_many("SyncTenant", [{"tenant_id": 4}] * 12)
    await let_some_have_room(scheduler, "SyncTenant")
    [commands] = blocks("console")
    outputs = []
    for line in commands.splitlines():
        words = line.removeprefix("$ targcc ").replace(" --watch", "").split()
        done = await asyncio.to_thread(CliRunner().invoke, main, words)
        assert done.exit_code == 0, done.output
        outputs.append(" ".join(done.stdout.split()))
    for shown in outputs[:2]:
        assert re.search(r"SyncTenant tenant_id=4 2 of 2 [345] of 5 10", shown), shown
    assert "Waiting for capacity: SyncTenant tenant_id=4 has 2 of 2 in use" in outputs[2]


def test_the_spec_says_the_same_as_the_decorator(tmp_path):
    [text] = blocks("yaml")
    whole = {"targcc": 1, "project": {"name": "x"}} | yaml.safe_load(text)
    whole["jobs"]["SyncTenant"]["params"] = {"tenant_id": "int"}
    written = tmp_path / "targcc.yaml"
    written.write_text(yaml.safe_dump(whole), encoding="utf-8")
    [code] = blocks("python")
    options = eval(re.search(r"limit=(\{.*?\})\)", code)[1])
    limit = load_spec(written).jobs["SyncTenant"].limit
    assert {name: getattr(limit, name) for name in options} == options
