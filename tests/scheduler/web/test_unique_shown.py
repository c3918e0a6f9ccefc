"""Unique runs and expiring runs on pages, in the API and on the command line."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner
from projects import WEB
from targcc_scheduler.cli.main import main
from web_fixtures import Site

UNIQUE = replace(
    WEB,
    job_options={
        "MailUser": {
            "unique": "user_id",
            "on_duplicate": "replace",
            "expires_in": timedelta(minutes=10),
            "retries": 4,
            "backoff": lambda run, _: 60 * run.failures,
        }
    },
)


@pytest.fixture(autouse=True)
def _unique(_apart, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.project._configured", UNIQUE)


async def test_it_is_told_that_a_run_is_there_already(site: Site):
    program, person = await site.program(), await site.user()
    address = "/api/jobs/MailUser/trigger"
    first = (await program.post(address, json={"arguments": {"user_id": 7}})).json()
    again = (await program.post(address, json={"arguments": {"user_id": 7}})).json()
    assert (first["existing"], again["existing"]) == (False, True)
    assert again["run_id"] == first["run_id"]
    assert again["message"].endswith(f"was there already as run {first['run_id']}")
    run = (await program.get(f"/api/runs/{first['run_id']}")).json()
    assert run["unique_by"] == "user_id=7"
    assert run["expires_at"] > run["due_at"]
    job = (await program.get("/api/jobs/MailUser")).json()
    assert job["unique"] == "by user_id (queued): replace"
    assert job["expires_in_seconds"] == 600
    page = await person.page(f"/jobs/runs/{first['run_id']}")
    assert "user_id=7" in page
    assert "unless it starts before" in page
    assert "after the due time" in await person.page("/jobs/jobs/MailUser")


async def test_it_is_told_that_the_code_decides_when_a_run_is_tried_again(site: Site, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", site.scheduler.settings.database_url)
    program, person = await site.program(), await site.user()
    assert (await program.get("/api/jobs/MailUser")).json()["backoff_by_rule"]
    assert not (await program.get("/api/jobs/SyncStock")).json()["backoff_by_rule"]
    text = "4, with a delay that the code decides"
    assert text in await person.page("/jobs/jobs/MailUser")
    shown = await asyncio.to_thread(CliRunner().invoke, main, ["job", "info", "MailUser"])
    assert text in shown.output


async def test_a_call_with_a_name_is_made_once(site: Site):
    program = await site.program()
    wish = {"idempotency_key": "order 17", "expires_in": "1h"}
    address = "/api/jobs/DailyReport/trigger"
    first = (await program.post(address, json=wish)).json()
    assert (await program.post(address, json=wish)).json()["run_id"] == first["run_id"]
    other = await program.post("/api/jobs/SyncStock/trigger", json=wish)
    assert (other.status_code, other.json()["title"]) == (422, "Key of another call")
    late = await program.post(address, json={"expires_in": "0s"})
    assert late.status_code == 422


async def test_the_command_line_says_so_too(site: Site, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", site.scheduler.settings.database_url)
    call = ["job", "run", "DailyReport", "--idempotency-key", "x", "--expires-in", "1h", "--json"]
    results = [await asyncio.to_thread(CliRunner().invoke, main, call) for _ in range(2)]
    assert [json.loads(result.stdout)["existing"] for result in results] == [False, True], results[
        0
    ].output
