"""Calendars and maintenance windows on the pages and in the API."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from projects import WEB
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.web import responses
from web_fixtures import Site

HELD = replace(
    WEB,
    calendars={
        "holidays": {
            "description": "<b>of</b> the office",
            "off": ("monday", "thursday", "12-25 (Christmas)"),
        },
        "broken": {"ics": "none.ics"},
    },
    queue_calendars={"default": {"calendar": ("holidays",), "on_holiday": "next"}},
)


@pytest.fixture(autouse=True)
def _held(_apart, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.project._configured", HELD)


async def test_people_see_calendars_and_plan_a_maintenance_window(site: Site):
    person, viewer = await site.user(), await site.user("viewer")
    page = await viewer.page("/jobs/calendars?year=2026")
    assert "&lt;b&gt;of&lt;/b&gt; the office" in page
    assert "<dt>Fri 25 Dec</dt><dd><bdi>Christmas (calendar holidays)</bdi></dd>" in page
    assert "the file of calendar broken cannot be read" in page
    assert 'href="/jobs/jobs/DailyReport"' in page
    assert "Plan a maintenance window" not in page
    job = await viewer.page("/jobs/jobs/DailyReport")
    assert "or when holidays is open again" in job
    assert (
        "also for the slot of" in job or "moved from" in job
    )  # one of both days is among the next five
    form = {"reason": "new <i>disk</i>", "until": "2099-01-01T00:00", "queue": "default"}
    assert (await viewer.send("/jobs/maintenance", **form)).status_code == 403
    for wrong in (
        {"reason": ""},
        {"until": "soon"},
        {"queue": "nowhere"},
        {"since": "2099-01-02T00:00"},
    ):
        await person.send("/jobs/maintenance", **{**form, **wrong})
        assert "The window was not planned:" in await person.page("/jobs/calendars"), wrong
    await person.send("/jobs/maintenance", **form)
    page = await person.page("/jobs/calendars")
    assert "new &lt;i&gt;disk&lt;/i&gt;" in page
    assert "End now" in page
    run = await site.scheduler.enqueue("DailyReport", by=SYSTEM)
    assert "Maintenance of queue default until" in await person.page(f"/jobs/runs/{run}")
    assert "Maintenance of default" in await person.page("/jobs")
    assert "maintenance</a>" in await person.page("/jobs/system")
    await person.send("/jobs/maintenance/1/end")
    assert "No window is active or planned" in await person.page("/jobs/calendars")
    assert "Maintenance of" not in await person.page(f"/jobs/runs/{run}")
    await person.send("/jobs/maintenance/1/end")
    assert "there is no maintenance window 1" in await person.page("/jobs/calendars")
    assert "end maintenance" in await person.page("/jobs/audit")


async def test_the_api_says_and_plans_the_same(site: Site):
    program, viewer = await site.program(), await site.program("viewer")
    calendars = (await viewer.get("/api/calendars")).json()
    assert [entry["name"] for entry in calendars] == ["holidays", "broken"]
    assert "DailyReport" in calendars[0]["jobs"]
    year = (await viewer.get("/api/calendars/holidays", params={"year": 2027})).json()
    assert year["weekly"] == ["Monday", "Thursday"]
    assert year["days"] == [{"day": "2027-12-25", "name": "Christmas (calendar holidays)"}]
    for name in ("nix", "broken"):
        assert (await viewer.get(f"/api/calendars/{name}")).status_code == 404
    job = (await viewer.get("/api/jobs/DailyReport")).json()
    assert job["calendars"] == ["holidays"]
    moved = [entry for entry in job["calendar_changes"] if entry["at"]]
    assert moved
    assert all(entry["at"] in job["next_runs"] for entry in moved)
    now = datetime.now(UTC)
    wish = {"ends_at": (now + timedelta(hours=2)).isoformat(), "reason": "new disk"}
    assert (await viewer.post("/api/maintenance", json=wish)).status_code == 403
    for wrong in (
        {"ends_at": "2001-01-01T00:00:00Z"},
        {"ends_at": "2099-01-01T00:00:00"},
        {"queues": ["nowhere"]},
        {"reason": ""},
    ):
        answer = await program.post("/api/maintenance", json={**wish, **wrong})
        assert answer.status_code == 422, answer.text
    made = (await program.post("/api/maintenance", json=wish)).json()
    assert (made["active"], made["queues"], made["planned_by"]) == (
        True,
        [],
        "API (operator-program)",
    )
    later = {**wish, "starts_at": (now + timedelta(hours=1)).isoformat(), "queues": ["critical"]}
    planned = (await program.post("/api/maintenance", json=later)).json()
    assert [entry["id"] for entry in (await viewer.get("/api/maintenance")).json()] == [
        made["id"],
        planned["id"],
    ]
    queues = (await viewer.get("/api/queues")).json()
    assert {entry["maintenance_until"] for entry in queues} == {made["ends_at"]}
    for entry in (made, planned):
        assert (await program.delete(f"/api/maintenance/{entry['id']}")).status_code == 200
    assert (await program.delete(f"/api/maintenance/{made['id']}")).status_code == 404
    assert (await viewer.get("/api/maintenance")).json() == []
    [kept] = (await viewer.get("/api/maintenance", params={"all": True})).json()
    assert (kept["id"], kept["ended_by"]) == (made["id"], "API (operator-program)")


def test_the_command_line_says_the_same(database_url: str):
    def targcc(*words: str) -> str:
        environment = {"TARGCC_DATABASE_URL": database_url}
        result = CliRunner().invoke(main, words, env=environment, prog_name="targcc")
        assert result.exit_code == 0, result.output
        return result.stdout

    job = targcc("job", "info", "DailyReport")
    assert "calendars    holidays\n" in job
    assert (
        "also for the slot of" in job or "moved from" in job
    )  # one of both days is among the next five
    assert "holidays  DailyReport" in targcc("calendar", "list")
    assert "Christmas (calendar holidays)" in targcc("calendar", "show", "holidays")
    output = targcc(
        "maintenance", "start", "--until", "2h", "--queue", "default", "--reason", "disk"
    )
    assert output.startswith("window 1: no run of queue default starts until ")
    states = {line.split()[0]: line.split()[-1] for line in targcc("queue", "list").splitlines()}
    assert (states["default"], states["critical"]) == ("maintenance", "open")
    assert targcc("maintenance", "end", "1") == "window 1 is over: runs of queue default start\n"


@pytest.mark.parametrize(
    ("path", "field"),
    [("/api/jobs/{name}", "calendar_changes"), ("/api/queues/{name}", "maintenance_until")],
)
def test_what_calendars_and_windows_do_by_themselves_is_no_change_of_anybody(path: str, field: str):
    before, after = (f'{{"name": "x", "{field}": "{value}"}}'.encode() for value in "ab")
    seen = responses.tag(path, before, before)
    assert responses.fits(seen, responses.tag(path, after, after))
    assert not responses.fits(seen, responses.tag(path, after, after), exactly=True)
