"""``Idempotency-Key``: a repeated request is executed once, and a refused request stores no key."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from targcc_scheduler.db.tables import job_request, job_run
from targcc_scheduler.features.accounts import sessions
from targcc_scheduler.kernel import idempotency
from web_fixtures import HOST, Site

TRIGGER = "/api/jobs/DailyReport/trigger"
ONE = {"Idempotency-Key": "order-17"}


@pytest.fixture
def database_url(migrated_url: str) -> str:
    """Return the URL of either database."""
    return migrated_url


async def runs(site: Site) -> int:
    return await site.scheduler.read(
        lambda db: db.scalar(sa.select(sa.func.count()).select_from(job_run))
    )


async def test_equal_requests_are_one_run_and_have_one_answer(site: Site):
    program = await site.program("operator")
    got = [await program.post(TRIGGER, headers=ONE) for _ in range(3)]
    assert [answer.status_code for answer in got] == [200, 200, 200]
    assert len({answer.text for answer in got}) == 1
    assert ["Idempotency-Replayed" in answer.headers for answer in got] == [False, True, True]
    assert await runs(site) == 1


async def test_requests_at_the_same_moment_are_one_run(site: Site):
    program = await site.program("operator")
    got = await asyncio.gather(*(program.post(TRIGGER, headers=ONE) for _ in range(8)))
    assert {answer.status_code for answer in got} <= {200, 409}
    early = [answer for answer in got if answer.status_code == 409]
    assert all(1 <= int(answer.headers["Retry-After"]) <= 3600 for answer in early)
    assert await runs(site) == 1
    assert (await program.post(TRIGGER, headers=ONE)).status_code == 200


async def test_a_client_that_leaves_before_its_body_has_come_starts_nothing(site: Site):
    async def leaves(scope: Any, _: Any, send: Any) -> None:
        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        await site.app(scope, receive, send)

    program = await site.program("operator")
    headers = ONE | {"Authorization": program.headers["Authorization"]}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(leaves), base_url=HOST) as client:
        assert (await client.post(TRIGGER, headers=headers)).status_code == 499
    assert await runs(site) == 0
    assert (await program.post(TRIGGER, headers=ONE)).status_code == 200


async def test_a_key_is_the_same_at_each_address_of_the_api(site: Site):
    program = await site.program("operator")
    first, second = [
        await program.post(f"{prefix}{TRIGGER}", headers=ONE) for prefix in ("", "/jobs")
    ]
    assert first.text == second.text
    assert "Idempotency-Replayed" in second.headers
    assert await runs(site) == 1


async def test_a_key_that_a_refused_request_leaves_meanwhile_is_taken(site: Site, monkeypatch):
    inserts = idempotency.insert_new

    async def is_left(*_: object) -> bool:
        """The row of an earlier request conflicts, and is gone at the next look."""
        monkeypatch.setattr(idempotency, "insert_new", inserts)
        return False

    monkeypatch.setattr(idempotency, "insert_new", is_left)
    program = await site.program("operator")
    assert (await program.post(TRIGGER, headers=ONE)).status_code == 200
    assert await runs(site) == 1


async def test_a_key_is_its_callers_and_its_addresss(site: Site):
    operator, admin = await site.program("operator"), await site.program("admin")
    for program, path in (
        (operator, TRIGGER),
        (admin, TRIGGER),
        (admin, "/api/jobs/DailyReport/pause"),
    ):
        answer = await program.post(path, headers=ONE)
        assert answer.status_code == 200
        assert "Idempotency-Replayed" not in answer.headers


async def test_a_token_that_is_called_like_a_user_is_another_caller(site: Site):
    dana, now = await site.user("operator", "dana"), site.scheduler.clock.now()
    token = await site.change(
        lambda db: sessions.create_token(db, "dana", "operator", by="test", now=now)
    )
    program = (await site.stranger()).client
    by_page = await dana.client.post(TRIGGER, headers=ONE | {"X-CSRF-Token": dana.csrf})
    by_token = await program.post(TRIGGER, headers=ONE | {"Authorization": f"Bearer {token}"})
    assert by_page.status_code == by_token.status_code == 200
    assert await runs(site) == 2


async def test_a_key_of_another_request_is_refused(site: Site):
    program = await site.program("operator")
    await program.post(TRIGGER, headers=ONE)
    answer = await program.post(TRIGGER, headers=ONE, json={"arguments": {}})
    assert (answer.status_code, answer.json()["type"]) == (
        422,
        "urn:targcc:problem:key-of-another-request",
    )
    assert await runs(site) == 1


async def test_what_is_no_key_is_refused(site: Site):
    program = await site.program("operator")
    for key in ("", "x" * 201, "a b", "é"):
        answer = await program.post(TRIGGER, headers={"Idempotency-Key": key.encode()})
        assert answer.status_code == 422, key


async def test_a_refused_request_keeps_no_key(site: Site):
    viewer, program = await site.program("viewer"), await site.program("operator")
    assert (await viewer.post(TRIGGER, headers=ONE)).status_code == 403
    wrong = await program.post(TRIGGER, headers=ONE, json={"arguments": {"no": "such"}})
    assert wrong.status_code == 422
    assert (await program.post(TRIGGER, headers=ONE)).status_code == 200
    assert (await (await site.stranger()).client.post(TRIGGER, headers=ONE)).status_code == 401


async def test_a_request_whose_process_died_is_not_done_again(site: Site, monkeypatch):
    program = await site.program("operator")

    async def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(idempotency, "end", dies)
        with pytest.raises(KeyboardInterrupt):
            await program.post(TRIGGER, headers=ONE)
    assert await runs(site) == 1
    again = await program.post(TRIGGER, headers=ONE)
    assert (again.status_code, again.json()["title"]) == (409, "Not answered yet")
    assert again.headers["Retry-After"] == "1"
    assert await runs(site) == 1
    earlier = job_request.update().values(BegunAt=site.scheduler.clock.now() - timedelta(hours=2))
    await site.change(lambda db: db.execute(earlier))
    later = await program.post(TRIGGER, headers=ONE)
    assert (later.status_code, later.headers["Retry-After"]) == (409, "3600")


async def test_a_key_is_free_after_a_day(site: Site):
    program = await site.program("operator")
    await program.post(TRIGGER, headers=ONE)
    older = job_request.update().values(BegunAt=site.scheduler.clock.now() - timedelta(hours=25))
    await site.change(lambda db: db.execute(older))
    assert "Idempotency-Replayed" not in (await program.post(TRIGGER, headers=ONE)).headers
    assert await runs(site) == 2
    await site.change(lambda db: db.execute(older))
    await site.scheduler.prune(days=30, keep_last=1)
    count = sa.select(sa.func.count()).select_from(job_request)
    assert await site.scheduler.read(lambda db: db.scalar(count)) == 0
