"""Deploys on the pages: nodes by release, runs that no node knows, drained nodes."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from rt_tools import until
from targcc_scheduler.cli.main import main
from web_fixtures import Site

REFUSED = "f1\t2026-11-25T09:14:00+00:00\tweb-1\t118\tit knows no job Gone\n"


async def unknown_run(site: Site) -> int:
    since = datetime.now(UTC) - timedelta(minutes=20)
    return await site.add_run("Gone", "enqueued", UnknownSince=since, RefusedBy=REFUSED)


async def test_a_run_that_no_node_knows_says_since_when_and_who_was_asked(site: Site):
    run_id = await unknown_run(site)
    dana, program = await site.user(), await site.program()
    page = await dana.page(f"/jobs/runs/{run_id}")
    assert "no server has been able to run it since" in page
    for text in ("web-1", "release 118", "it knows no job Gone"):
        assert text in page
    assert "1 run waits for a server that can run it" in await dana.page("/jobs")
    assert "1 run of <bdi>Gone</bdi>" in await dana.page("/jobs/system")
    shown = (await program.get(f"/api/runs/{run_id}")).json()
    assert shown["unknown_since"] is not None
    assert shown["refusals"] == [
        {
            "fingerprint": "f1",
            "at": "2026-11-25T09:14:00+00:00",
            "node": "web-1",
            "release": "118",
            "why": "it knows no job Gone",
        }
    ]


async def test_a_person_fails_it_and_no_other(site: Site):
    run_id, waiting = await unknown_run(site), await site.add_run("DailyReport", "enqueued")
    program = await site.program()
    assert (await program.post(f"/api/runs/{waiting}/fail")).status_code == 409
    answer = await program.post(f"/api/runs/{run_id}/fail")
    assert answer.json() == {"message": f"run {run_id} is failed"}
    dana = await site.user()
    again = await unknown_run(site)
    await dana.send(f"/jobs/runs/{again}/fail")
    for failed in (run_id, again):
        shown = (await program.get(f"/api/runs/{failed}")).json()
        assert (shown["state"], len(shown["attempts"])) == ("failed", 1)


@pytest.mark.sqlite
async def test_the_active_server_and_the_standby_are_shown(busy_site: Site, monkeypatch):
    program, dana = await busy_site.program(), await busy_site.user()
    [server] = (await program.get("/api/servers")).json()
    assert server["role"] is None
    assert "standby" not in await dana.page("/jobs/system")
    monkeypatch.setattr(busy_site.scheduler.store.dialect, "has_lease", True)
    assert (await program.get("/api/servers")).json()[0]["role"] == "standby"
    page = await dana.page("/jobs/system")
    assert "standby" in page
    assert "one server at a time runs the jobs" in page


async def test_servers_are_drained_and_releases_chosen_by_operators(busy_site: Site):
    program, viewer = await busy_site.program(), await busy_site.program("viewer")
    [server] = (await program.get("/api/servers")).json()
    path = f"/api/servers/{server['id']}"
    assert (await viewer.post(f"{path}/drain")).status_code == 403
    assert (await program.post("/api/servers/nix/drain")).status_code == 404
    assert (await program.post(f"{path}/drain")).json()["message"].endswith("is drained")
    dana = await busy_site.user()
    page = await dana.page("/jobs/system")
    assert "drained" in page
    assert server["release"] in page
    executor = busy_site.scheduler.node.executor
    await until(lambda: executor.holds)
    await dana.send(f"/jobs/servers/{server['id']}/resume")
    await until(lambda: not executor.holds)

    [release] = (await program.get("/api/releases")).json()
    assert (release["name"], release["decides"]) == (server["release"], True)
    assert (await program.post("/api/releases/nix/use")).status_code == 404
    await program.post(f"/api/releases/{release['name']}/use")
    [release] = (await program.get("/api/releases")).json()
    assert release["chosen_by"].startswith("API (")
    shown = (
        (await dana.page("/jobs/system")).partition('id="releases"')[2].partition("</section>")[0]
    )
    assert "in force" in shown
    assert "hold" not in shown
    await dana.send(f"/jobs/releases/{release['name']}/use-newest")
    [release] = (await program.get("/api/releases")).json()
    assert release["chosen_by"] is None


async def test_commands_drain_servers_and_list_releases(busy_site: Site, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", busy_site.scheduler.settings.database_url)

    def targcc(*words: str, status: int = 0) -> str:
        result = CliRunner().invoke(main, words, prog_name="targcc")
        assert result.exit_code == status, result.output
        return result.output

    run_id = await unknown_run(busy_site)
    output = await asyncio.to_thread(targcc, "run", "show", str(run_id))
    assert "no node knows it since" in output
    assert "asked: web-1 (release 118): it knows no job Gone" in output
    [server] = json.loads(await asyncio.to_thread(targcc, "server", "list", "--json"))
    name = f"{server['name']}:{server['process_id']}"
    output = await asyncio.to_thread(targcc, "server", "drain", name, "--wait", "--timeout", "20s")
    assert output == f"{name} is empty\n"
    assert "drained" in await asyncio.to_thread(targcc, "server", "list")
    assert "no server 'nix' is up" in await asyncio.to_thread(
        targcc, "server", "drain", "nix", status=2
    )
    await asyncio.to_thread(targcc, "server", "resume", name)
    assert server["release"] in await asyncio.to_thread(targcc, "release", "list")
    output = await asyncio.to_thread(targcc, "release", "use", server["release"])
    assert output == f"the schedules of release {server['release']} are in force\n"
    assert "chosen by CLI" in await asyncio.to_thread(targcc, "release", "list")
    [server] = json.loads(await asyncio.to_thread(targcc, "server", "list", "--json"))
    assert server["drain_requested_at"] is None
