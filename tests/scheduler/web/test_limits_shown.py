"""Limits by key on pages and in the API: used capacity of each key, and waiting runs."""

import asyncio
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from limits_tools import let_some_have_room
from projects import WEB
from targcc_scheduler.cli.main import main
from web_fixtures import Site

LIMIT = {"key": "user_id", "running": 2, "rate": "60/min", "burst": 3}
LIMITED = replace(WEB, job_options={"MailUser": {"limit": LIMIT}})


@pytest.fixture(autouse=True)
def _limited(_apart, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.project._configured", LIMITED)


@pytest.fixture
async def busy(site: Site) -> Site:
    """Create runs for ten users: five runs for user 1, one run for each other user."""
    many = [{"user_id": user} for user in (1, 1, 1, 1, *range(1, 11))]
    await site.scheduler.enqueue_many("MailUser", many)
    await let_some_have_room(site.scheduler, "MailUser")
    return site


async def test_programs_page_through_keys(busy: Site):
    program = await busy.program()
    whole = (await program.get("/api/limits")).json()
    assert [entry["key"] for entry in whole] == sorted(
        f"MailUser user_id={n}" for n in range(1, 11)
    )
    first = whole[0]
    assert first["oldest_due"] is not None
    assert first["full_at"] is not None
    totals = {name: first[name] for name in ("job", "running", "used", "most", "waiting", "burst")}
    assert totals == {
        "job": "MailUser",
        "running": 2,
        "used": 2,
        "most": 2,
        "waiting": 3,
        "burst": 3,
    }
    assert first["tokens"] in {1, 2}
    paged, address = [], "/api/limits?limit=4&job=MailUser"
    while address:
        answer = await program.get(address)
        paged += answer.json()
        address = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert [entry["key"] for entry in paged] == [entry["key"] for entry in whole]
    waiting = (await program.get("/api/limits?waiting=true")).json()
    assert [entry["key"] for entry in waiting] == ["MailUser user_id=1"]
    keys = (await program.get("/api/limits", params={"key": "id=1"})).json()
    assert [entry["key"] for entry in keys] == ["MailUser user_id=1", "MailUser user_id=10"]
    assert (await program.get("/api/limits", params={"key": "%"})).json() == []
    assert (await program.get("/api/limits?job=SyncStock")).json() == []
    assert (await program.get("/api/limits?job=Nobody")).json() == []
    job = (await program.get("/api/jobs/MailUser")).json()
    assert job["limit"] == "by user_id: 2 at once, 60/min (burst 3)"
    figures = (await program.get("/metrics")).text
    assert 'targcc_limit_running{job="MailUser"} 11.0' in figures
    assert 'targcc_limit_waiting{job="MailUser"} 3.0' in figures
    assert "user_id=" not in figures


async def test_people_see_the_busiest_keys_of_a_job_and_all_of_them_on_their_page(busy: Site):
    person = await busy.user()
    page = await person.page("/jobs/jobs/MailUser")
    assert 'id="limit"' in page
    assert page.index("MailUser user_id=1<") < page.index("MailUser user_id=10<")
    assert page.count("MailUser user_id=") == 5
    assert "/jobs/limits?job=MailUser" in page
    page = await person.page("/jobs/limits?waiting=1")
    assert "by user_id: 2 at once" in page
    assert page.count("MailUser user_id=") == 1
    assert "No keys match" in await person.page("/jobs/limits?key=%25")
    assert '/jobs/limits"' in await person.page("/jobs/system")
    assert 'id="limit"' not in await person.page("/jobs/jobs/SyncStock")


async def test_the_page_goes_on_where_it_ended(site: Site):
    many = [{"user_id": user} for user in range(60)]
    await site.scheduler.enqueue_many("MailUser", many)
    await let_some_have_room(site.scheduler, "MailUser")
    person = await site.user()
    first = await person.page("/jobs/limits")
    address = first.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    second = await person.page(address)
    assert (first + second).count("<b><bdi>MailUser user_id=") == 60


async def test_the_command_line_shows_them_too(busy: Site, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", busy.scheduler.settings.database_url)

    async def said(*words: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, main, ["limits", *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    shown = await said("MailUser", "--waiting")
    assert "MailUser user_id=1 " in shown
    assert "2 of 2" in shown
    assert len(json.loads(await said("--json", "--limit", "4"))) == 4
    assert "TOKENS LEFT" in shown
    assert await said("syncstock") == (
        "SyncStock has no limit: @job(limit=…), or limit: in targcc.yaml, gives it one.\n"
    )
    assert await said("mailuser", "--key", "id=77") == (
        'No key that has "id=77" in it of a limit of MailUser is in use.\n'
    )
    assert await said("--key", "id=2", "--waiting") == (
        'No run waits for a key that has "id=2" in it of a limit.\n'
    )
    unknown = await asyncio.to_thread(CliRunner().invoke, main, ["limits", "MailUsr"])
    assert (unknown.exit_code, "did you mean 'MailUser'?" in unknown.stderr) == (2, True)
    assert (
        "by user_id: 2 at once"
        in (await asyncio.to_thread(CliRunner().invoke, main, ["job", "info", "MailUser"])).stdout
    )
