"""Follow batches and flows through event streams of a real server."""

import json
from datetime import UTC, datetime

import httpx
import pytest
import sqlalchemy as sa
from live_rig import address_of, server, stream
from targcc_scheduler import Settings
from targcc_scheduler.db.tables import job_batch, job_run
from targcc_scheduler.features.accounts import roles
from targcc_scheduler.features.accounts import roles as account_roles
from web_fixtures import Site, running


async def follow(settings: Settings) -> None:
    """Read the events of a batch while its first run begins and the batch is cancelled."""
    async with running(settings, work=False) as site:
        async with site.scheduler.batch("month end") as batch:
            batch.enqueue_many("DailyReport", [{}, {}])
        operator = await site.program("operator")
        async with (
            server(site) as live_server,
            httpx.AsyncClient(
                base_url=address_of(live_server), headers=operator.headers, timeout=30
            ) as client,
            stream(client, f"/api/batches/{batch.batch_id}/events") as reader,
        ):
            began = await reader.until("batch")
            assert began.data["name"] == "month end"
            assert (began.data["pending"], began.data["running"]) == (2, 0)
            runs = sa.update(job_run).where(job_run.c.Id == 1)
            await site.change(lambda db: db.execute(runs.values(State="running")))
            assert (await reader.until("batch")).data["running"] == 1
            await site.change(lambda db: db.execute(runs.values(State="enqueued")))
            assert (await reader.until("batch")).data["running"] == 0
            await client.post(f"/api/batches/{batch.batch_id}/cancel")
            ended = await reader.until("end")
            assert (ended.data["state"], ended.data["pending"]) == ("cancelled", 0)
            assert await reader.next() is None


async def test_a_batch_is_followed_as_it_happens(settings: Settings):
    await follow(settings)


async def test_a_batch_is_followed_over_postgresql(migrated_postgresql_url: str):
    await follow(Settings(database_url=migrated_postgresql_url, heartbeat_seconds=0.2))


async def test_a_flow_is_followed_step_by_step(site: Site, address: str):
    flow = await _flow(site, "waiting")
    program = await site.program("viewer")
    async with (
        httpx.AsyncClient(base_url=address, headers=program.headers, timeout=30) as client,
        stream(client, f"/api/flows/{flow}/events") as reader,
    ):
        assert (await reader.until("flow")).data["steps"] == {"load": "waiting"}
        await _change(site, flow, DefinitionJson=_steps("running"))
        assert (await reader.until("flow")).data["steps"] == {"load": "running"}
        over = {"State": "succeeded", "CompletedAt": datetime.now(UTC), "Pending": 0}
        await _change(site, flow, DefinitionJson=_steps("succeeded"), **over)
        ended = await reader.until("end")
        assert (ended.data["state"], ended.data["steps"]) == ("succeeded", {"load": "succeeded"})


@pytest.mark.slow
async def test_who_may_not_see_a_batch_may_not_follow_it(site: Site):
    flow = await _flow(site, "waiting")
    given = [roles.Grant(roles.Role.VIEWER, "daily*")]
    await site.change(lambda db: account_roles.create(db, "reports", given))
    stranger, some = (await site.stranger()).client, await site.program("reports")
    program, person = await site.program("viewer"), await site.user("viewer")
    for kind in ("batches", "flows"):
        assert (await stranger.get(f"/api/{kind}/{flow}/events")).status_code == 401
        assert (await some.get(f"/api/{kind}/{flow}/events")).status_code == 403
        assert (await program.get(f"/api/{kind}/{flow + 1}/events")).status_code == 404
        assert (await person.get(f"/jobs/{kind}/{flow + 1}/live")).status_code == 404
    # the id belongs to a flow
    assert (await program.get(f"/api/batches/{flow}/events")).status_code == 404


def _steps(state: str) -> str:
    step = {"said": {}, "job": "DailyReport", "queue": "default", "priority": 0, "given": None}
    return json.dumps({"load": {**step, "state": state}})


async def _flow(site: Site, state: str) -> int:
    row = {"Name": "MonthEnd", "Kind": "flow", "State": "running", "CreatedBy": "test"}
    row |= {"CreatedAt": datetime.now(UTC), "Total": 1, "Pending": 1}
    made = await site.change(
        lambda db: db.execute(job_batch.insert().values(DefinitionJson=_steps(state), **row))
    )
    return int(made.inserted_primary_key[0])


async def _change(site: Site, flow: int, **values: object) -> None:
    row = sa.update(job_batch).where(job_batch.c.Id == flow).values(values)
    await site.change(lambda db: db.execute(row))
