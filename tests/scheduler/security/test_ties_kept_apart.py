"""A person with access to some jobs, beside hidden runs that are dependencies or have similar names."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from targcc_scheduler import JobType, Settings, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.identity import Grant, Role
from targcc_scheduler.features.accounts import roles, sessions
from web_fixtures import Site, running

HIDDEN = re.compile(r"ware.?house", re.IGNORECASE)
DAILY = ("DailyReport", "DailySlot", "DailyCheck")


@job(JobType.MANUAL)
async def warehouse_stock() -> None: ...


@job(JobType.MANUAL)
async def daily_mail() -> None: ...


@job(after=[warehouse_stock])
async def daily_check() -> None: ...


@job(after=[warehouse_stock, daily_mail])
async def daily_report() -> None: ...


@job("0 5 * * *")
async def daily_slot() -> None: ...


@job(after=[daily_slot])
async def warehouse_order() -> None: ...


@pytest.fixture
async def site(settings: Settings) -> AsyncIterator[Site]:
    """The app with the jobs of this module."""
    own = settings.model_copy(update={"jobs_package": __name__})
    async with running(own, work=False) as running_site:
        yield running_site


async def person(site: Site) -> httpx.AsyncClient:
    """A person with a role for the jobs whose names begin with ``daily``."""
    given = [Grant(Role.OPERATOR, "daily*")]
    await site.change(lambda db: roles.create(db, "reports", given))
    dana = await site.user("reports", "dana")
    dana.client.headers["X-CSRF-Token"] = dana.csrf
    return dana.client


async def program(site: Site) -> httpx.AsyncClient:
    """A program with a token for some jobs."""
    now = site.scheduler.clock.now()
    token = await site.change(
        lambda db: sessions.create_token(
            db, "mailer", "operator", by="test", now=now, jobs=("DailyMail", "DailyCheck")
        )
    )
    visitor = await site.stranger()
    visitor.client.headers["Authorization"] = f"Bearer {token}"
    return visitor.client


@pytest.mark.slow
async def test_what_becomes_of_a_run_does_not_name_the_jobs_that_it_waits_for(site: Site):
    discarded = await site.scheduler.enqueue("WarehouseStock")
    await site.scheduler.cancel(discarded, by=SYSTEM)
    await site.scheduler.enqueue("WarehouseStock")  # a run of the report depends on this run
    for _ in range(2):  # the second report waits for a future run of the stock job
        await site.scheduler.enqueue("DailyMail")
    client = await person(site)
    runs = (await client.get("/api/runs")).json()["runs"]
    stands = {(item["job"], item["state"]) for item in runs}
    assert {("DailyCheck", "cancelled"), ("DailyReport", "awaiting")} <= stands
    pages = ["/jobs", "/jobs/jobs", "/jobs/runs", "/api/runs", "/api/jobs", "/api/chains"]
    pages += [f"/{item}/{name}" for item in ("api/jobs", "jobs/jobs") for name in DAILY]
    slots = "/jobs/jobs/DailySlot/backfill?since=2026-11-20T00:00&until=2026-11-22T00:00"
    assert "its dependent jobs: <bdi>1 more</bdi>" in (await client.get(slots)).text
    pages.append(slots)
    for run in runs:
        beginnings = (f"/api/runs/{run['id']}", f"/jobs/runs/{run['id']}")
        pages += [f"{item}{part}" for item in beginnings for part in ("", "/why")]
    for page in pages:
        answer = await client.get(page)
        assert not (named := HIDDEN.search(answer.text)), (page, answer.text[: named.end()][-200:])
    assert (await client.get("/api/runs", params={"q": "warehouse"})).json()["runs"] == []


@pytest.mark.parametrize("somebody", [person, program])
async def test_nobody_lets_a_run_wait_for_one_that_they_may_not_look_at(site: Site, somebody):
    hidden = await site.scheduler.enqueue("WarehouseStock", idempotency_key="tonight")
    visible = await site.scheduler.enqueue("DailyMail")
    client: httpx.AsyncClient = await somebody(site)

    async def trigger(**wish: object) -> httpx.Response:
        return await client.post("/api/jobs/DailyMail/trigger", json=wish)

    refused, missing = await trigger(after=[visible, hidden]), await trigger(after=[visible, 99])
    assert refused.status_code == missing.status_code == 404
    assert refused.json()["detail"] == missing.json()["detail"].replace("99", str(hidden))
    form = {"after": f"{hidden}"}
    by_form = await client.post(
        "/api/jobs/DailyMail/trigger/files", data=form, files={"x": ("", b"")}
    )
    assert by_form.json() == refused.json()
    assert (await trigger(after=[visible])).status_code == 200


@pytest.mark.parametrize("somebody", [person, program])
async def test_a_key_neither_tells_of_a_run_that_is_hidden_nor_is_in_its_way(site: Site, somebody):
    await site.scheduler.enqueue("WarehouseStock", idempotency_key="tonight")
    client: httpx.AsyncClient = await somebody(site)

    async def trigger(key: str, job: str = "DailyMail") -> httpx.Response:
        return await client.post(f"/api/jobs/{job}/trigger", json={"idempotency_key": key})

    first, again, later = [await trigger(key) for key in ("tonight", "tonight", "tomorrow")]
    assert [answer.status_code for answer in (first, again, later)] == [200, 200, 200]
    assert [answer.json()["existing"] for answer in (first, again, later)] == [False, True, False]
    assert again.json()["run_id"] == first.json()["run_id"]
    assert not (await site.scheduler.enqueue("WarehouseStock", idempotency_key="tomorrow")).existing
    refused = await trigger("tonight", "DailyCheck")
    assert refused.status_code == 422
    assert f"'tonight' is that of run {first.json()['run_id']}," in refused.json()["detail"]


async def test_somebody_who_sees_every_job_shares_keys_with_the_application(site: Site):
    run = await site.scheduler.enqueue("WarehouseStock", idempotency_key="tonight")
    operator = await site.program("operator")
    path, wish = "/api/jobs/WarehouseStock/trigger", {"idempotency_key": "tonight"}
    answer = (await operator.post(path, json=wish)).json()
    assert (answer["run_id"], answer["existing"]) == (run, True)


async def test_a_token_for_some_jobs_is_not_told_which_others_theirs_hang_on(site: Site):
    await site.scheduler.enqueue("WarehouseStock")
    client, viewer = await program(site), await site.program("viewer")
    [check] = (await viewer.get("/api/runs", params={"job": "DailyCheck"})).json()["runs"]
    address = f"/api/runs/{check['id']}"
    [parent] = (await client.get(address)).json()["parents"]
    assert (parent["id"], parent["job"], parent["state"]) == (1, None, None)
    assert (await viewer.get(address)).json()["parents"][0]["job"] == "WarehouseStock"
    mail = await site.scheduler.enqueue("DailyMail")  # a run of the report depends on this run
    [report] = (await client.get(f"/api/runs/{mail}")).json()["children"]
    assert report["job"] is None
