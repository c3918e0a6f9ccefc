"""Follow runs through event streams of a real server."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from live_rig import Stream, address_of, browse_site, eventually, server, stream, write
from targcc_scheduler import Settings
from targcc_scheduler.features.accounts import roles, sessions
from targcc_scheduler.features.accounts import roles as account_roles
from targcc_scheduler.web import hubs, streams
from web_fixtures import Site, running


async def follow(settings: Settings) -> None:
    """Follow a working run with two readers: one reader from the beginning, one that reconnects."""
    async with browse_site(settings) as (site, address):
        program = await site.program("operator")
        token = program.headers["Authorization"]
        async with httpx.AsyncClient(
            base_url=f"{address}/jobs/api", headers={"Authorization": token}, timeout=30
        ) as client:
            run_id = (await client.post("/jobs/slow_export/trigger")).json()["run_id"]
            waiting = asyncio.create_task(client.get(f"/runs/{run_id}?wait=60", timeout=90))
            async with stream(client, f"/runs/{run_id}/events") as first:
                while (await first.until("run")).data["progress_done"] != 340:
                    pass
                await write(site, run_id, "one", "two")
                seen = [(await first.until("log")) for _ in range(2)]
                assert [item.data["message"] for item in seen] == ["one", "two"]
                place = seen[0].key
                async with stream(
                    client, f"/runs/{run_id}/events", **{"Last-Event-ID": place}
                ) as again:
                    assert (await again.until("log")).data == seen[1].data
                    assert not waiting.done()
                    await client.post(f"/runs/{run_id}/cancel")
                    for item in (first, again):
                        ended = await item.until("end")
                        assert ended.data["state"] in {"cancelled", "succeeded"}
                        assert await item.next() is None
            answered = await waiting
            assert answered.json()["state"] == ended.data["state"]
            assert [line["message"] for line in answered.json()["log"]] == ["one", "two"]


@pytest.mark.slow
async def test_a_run_is_followed_as_it_happens(settings: Settings):
    await follow(settings)


async def test_a_run_is_followed_over_postgresql(migrated_postgresql_url: str):
    await follow(Settings(database_url=migrated_postgresql_url, heartbeat_seconds=0.2))


async def test_more_lines_than_one_round_brings_come_in_order_and_once(site: Site, address: str):
    run_id = await site.add_run("DailyReport", "running")
    texts = [f"line {number}" for number in range(1_203)]
    await write(site, run_id, *texts)
    program = await site.program("viewer")
    async with httpx.AsyncClient(base_url=address, headers=program.headers, timeout=30) as client:
        async with stream(client, f"/api/runs/{run_id}/events") as reader:
            messages = [(await reader.until("log")).data["message"] for _ in texts]
        assert messages == texts
        whole = await client.get(f"/api/runs/{run_id}/log.txt")
        assert [line.split(" ", 2)[2].strip() for line in whole.text.splitlines()] == texts
        later = await client.get(f"/api/runs/{run_id}/log", params={"after": 1_200})
        assert [line["message"] for line in later.json()] == texts[1_200:]


async def test_who_comes_does_not_wait_for_a_round_of_others(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hubs, "_ROUND_SECONDS", 600)
    goes_on, over = [await site.add_run("DailyReport", state) for state in ("running", "failed")]
    runs = hubs.RunHub(site.scheduler.read)
    with runs.watch(goes_on) as first:
        await first.news(60)
        assert first.status is not None
        with runs.watch(over) as second:
            await second.news(60)
            assert second.ended


async def test_streams_leave_room_for_pages_and_others(site: Site, address: str):
    run_id = await site.add_run("DailyReport", "running")
    program = await site.program("viewer")
    url = f"/api/runs/{run_id}/events"
    async with httpx.AsyncClient(base_url=address, headers=program.headers, timeout=30) as client:
        opened: list[Stream] = []
        async with asyncio.TaskGroup() as group:
            closing = asyncio.Event()

            async def keep_open() -> None:
                async with stream(client, url) as reader:
                    await reader.until("run")
                    opened.append(reader)
                    await closing.wait()

            for _ in range(hubs.MOST_EACH):
                group.create_task(keep_open())
            await eventually(lambda: len(opened) == hubs.MOST_EACH)
            refused = await client.get(url)
            assert (refused.status_code, refused.json()["title"]) == (429, "Too many streams")
            assert (await client.get(f"/api/runs/{run_id}")).status_code == 200
            other = await site.user("viewer")
            async with (
                httpx.AsyncClient(
                    base_url=address, cookies=dict(other.client.cookies), timeout=30
                ) as page,
                stream(page, f"/jobs/runs/{run_id}/live") as reader,
            ):
                await reader.until("run")
            closing.set()
        await eventually(lambda: not site.app.state.targcc.streams._open)


async def test_a_stream_ends_with_the_session_that_reads_it(
    site: Site, address: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(streams, "BEAT", timedelta())
    run_id = await site.add_run("DailyReport", "running")
    reader = await site.user("viewer")
    cookies = dict(reader.client.cookies)
    async with (
        httpx.AsyncClient(base_url=address, cookies=cookies, timeout=30) as client,
        stream(client, f"/jobs/runs/{run_id}/live") as follower,
    ):
        await follower.until("run")
        await reader.client.delete("/api/sessions", headers={"X-CSRF-Token": reader.csrf})
        assert await follower.next() is None


async def test_who_may_not_see_a_run_may_not_follow_it_nor_wait(site: Site):
    run_id = await site.add_run("DailyReport", "running")
    stranger = (await site.stranger()).client
    token = await site.change(
        lambda db: sessions.create_token(
            db,
            "starter",
            roles.Role("operator"),
            by="test",
            now=site.scheduler.clock.now(),
            jobs=["MailUser"],
        )
    )
    starter = (await site.stranger()).client
    starter.headers["Authorization"] = f"Bearer {token}"
    for path in ("/events", "/log.txt", "?wait=60"):
        assert (await stranger.get(f"/api/runs/{run_id}{path}")).status_code == 401
        assert (await starter.get(f"/api/runs/{run_id}{path}")).status_code == 403
    program = await site.program("viewer")
    for path in ("/events", "/log.txt", "?wait=60"):
        assert (await program.get(f"/api/runs/{run_id + 1}{path}")).status_code == 404
    assert (await program.get(f"/api/runs/{run_id}?wait=61")).status_code == 422


async def test_whoever_follows_first_may_see_less_than_others(site: Site, address: str):
    report, stock = [await site.add_run(job, "running") for job in ("DailyReport", "SyncStock")]
    given = [roles.Grant(roles.Role.VIEWER, "daily*")]
    await site.change(lambda db: account_roles.create(db, "reports", given))
    reporter, viewer = (await site.program("reports")).headers, (
        await site.program("viewer")
    ).headers
    async with httpx.AsyncClient(base_url=f"{address}/api", timeout=30) as client:
        assert (await client.get(f"/runs/{stock}/events", headers=reporter)).status_code == 404
        waiting = asyncio.create_task(client.get(f"/runs/{report}?wait=60", headers=reporter))
        await eventually(lambda: site.app.state.targcc.runs._rounds.listeners)
        async with stream(client, f"/runs/{stock}/events", **viewer) as other:
            assert (await other.until("run")).data["job"] == "SyncStock"
        assert not waiting.done()
        waiting.cancel()


async def test_a_server_that_is_told_to_stop_does_not_wait_for_streams(settings: Settings):
    async with running(settings, work=False) as site:
        run_id = await site.add_run("DailyReport", "running")
        program = await site.program("viewer")
        async with (
            server(site) as live_server,
            httpx.AsyncClient(headers=program.headers, timeout=30) as client,
            stream(client, f"{address_of(live_server)}/api/runs/{run_id}/events") as reader,
        ):
            await reader.until("run")
            live_server.should_exit = True
            assert await reader.next() is None


@pytest.mark.slow
async def test_programs_hear_of_the_changes_that_they_ask_for(settings: Settings):
    async with browse_site(settings) as (site, address):
        program = await site.program("operator")
        given = [roles.Grant(roles.Role.VIEWER, "daily*")]
        await site.change(lambda db: account_roles.create(db, "reports", given))
        reporter = (await site.program("reports")).headers
        async with httpx.AsyncClient(
            base_url=f"{address}/api", headers=program.headers, timeout=90
        ) as client:
            async with (
                # the first reader, with the least access
                stream(client, "/events", **reporter) as own,
                stream(client, "/events?job=daily*") as daily,
                stream(client, "/events?queue=critical&state=running") as critical,
            ):
                exports = (await client.post("/jobs/slow_export/trigger")).json()["run_id"]
                report = (await client.post("/jobs/DailyReport/trigger")).json()["run_id"]
                seen = [await daily.until("run") for _ in range(3)]
                assert {event.data["run_id"] for event in seen} == {report}
                states = [event.data["state"] for event in seen]
                assert states == ["enqueued", "running", "succeeded"]
                began = (await critical.until("run")).data
                assert (began["run_id"], began["state"]) == (exports, "running")
                heard = [(await own.until("run")).data["run_id"] for _ in range(3)]
                assert set(heard) == {report}
            await client.post(f"/runs/{exports}/cancel")
            await client.get(f"/runs/{exports}?wait=60")
            back = {"Last-Event-ID": seen[0].key}
            async with stream(client, "/events?state=succeeded&state=cancelled", **back) as again:
                missed = [(await again.until("run")).data["run_id"] for _ in range(2)]
                assert missed == [report, exports]
            back = {"Last-Event-ID": "2026-01-01T00:00:00+00:00~1~running"}
            async with stream(client, "/events", **back) as late:
                assert (await late.until("gap")).data["after"].startswith("2026-01-01")
