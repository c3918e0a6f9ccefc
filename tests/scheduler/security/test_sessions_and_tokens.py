"""Sessions of people, and permissions of tokens."""

import re
from datetime import UTC, datetime, timedelta

from targcc_scheduler.core.identity import Role
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.accounts import sessions
from targcc_scheduler.features.accounts import sessions as account_sessions
from targcc_scheduler.features.accounts.sessions import in_words

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0"


def test_a_browser_is_named_by_what_it_says():
    chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0 Safari/537.36"
    assert [
        in_words(text) for text in (FIREFOX, chrome, f"{chrome} Edg/142.0", "curl/8.5.0", "")
    ] == [
        "Firefox on Windows",
        "Chrome on Linux",
        "Edge on Linux",
        "curl",
        "an unknown program",
    ]


async def test_a_session_ends_when_nobody_uses_it_and_at_its_end_in_any_case(migrated_url):
    store, idle = Store(migrated_url), timedelta(hours=24)
    async with store.write() as db:
        secret = await sessions.start_session(db, "dana", Role.ADMIN, NOW, timedelta(days=3))
        used = NOW
        for hours in (20, 40, 60):
            at = NOW + timedelta(hours=hours)
            session = await sessions.find_session(db, secret, at, idle)
            assert session is not None
            assert (session.last_seen_at, session.is_worth_noting(at)) == (used, True)
            await sessions.note_use(db, secret, used := at)
        assert not session.is_worth_noting(session.last_seen_at + timedelta(seconds=59))
        assert await sessions.find_session(db, secret, NOW + timedelta(hours=71), idle) is not None
        assert await sessions.find_session(db, secret, NOW + timedelta(hours=72), idle) is None
        again = await sessions.start_session(db, "dana", Role.ADMIN, NOW, timedelta(days=3))
        assert await sessions.find_session(db, again, NOW + idle, idle) is None
    await store.dispose()


async def test_sessions_are_listed_with_browser_and_address_and_ended_singly_and_all(site):
    dana, yossi = await site.user("viewer", "dana"), await site.user("admin", "yossi")
    phone = await site.stranger()
    phone.client.headers["User-Agent"] = FIREFOX
    await phone.client.post(
        "/jobs/login", data={"name": "dana", "password": "a good long password"}
    )
    page = await dana.page("/jobs/account")
    assert "Firefox on Windows" in page
    assert page.count("10.1.2.3") == 2
    assert "yossi" not in page
    foreign_id = (await yossi.get("/api/sessions", params={"user": "yossi"})).json()[0]["id"]
    own_sessions = (await dana.get("/api/sessions")).json()
    assert {entry["name"] for entry in own_sessions} == {"dana"}
    assert "csrf" not in own_sessions[0]
    # A session of another person stays.
    await dana.send(f"/jobs/account/sessions/{foreign_id}/revoke")
    assert (await yossi.get("/jobs")).status_code == 200
    other = next(entry["id"] for entry in own_sessions if entry["device"] == "Firefox on Windows")
    await dana.send(f"/jobs/account/sessions/{other}/revoke")
    assert (await phone.get("/jobs")).status_code == 303
    assert "yossi" in await yossi.page("/jobs/account?everybody=1")
    assert (await dana.get("/api/sessions", params={"user": "yossi"})).status_code == 403
    # A token cannot be revoked as a session, whatever its name.
    secret = await site.change(
        lambda db: account_sessions.create_token(
            db, "dana", Role.VIEWER, by="test", now=datetime.now(UTC)
        )
    )
    named = {"Authorization": f"Bearer {secret}"}
    nobody = await site.stranger()
    assert (await nobody.get("/api/sessions", headers=named)).status_code == 403
    assert "You have no sessions" in await nobody.page("/jobs/account", headers=named)
    for path in ("/jobs/account/sessions/revoke", "/jobs/account/second-factor"):
        assert (await nobody.client.post(path, headers=named)).status_code == 403
    answer = await dana.send("/jobs/account/sessions/revoke")
    assert answer.status_code == 303
    assert (await dana.get("/jobs")).status_code == 303
    assert (await yossi.get("/jobs")).status_code == 200


async def test_a_page_that_looks_again_by_itself_does_not_keep_its_session(site, monkeypatch):
    dana, noted = await site.user("viewer", "dana"), []
    note = sessions.note_use
    monkeypatch.setattr(
        "targcc_scheduler.features.accounts.sessions.Session.is_worth_noting", lambda *_: True
    )

    async def noting(*args):
        noted.append(args)
        await note(*args)

    monkeypatch.setattr("targcc_scheduler.features.accounts.sessions.note_use", noting)
    await dana.get("/jobs", headers={"HX-Request": "true"})
    assert noted == []
    await dana.get("/jobs")
    assert len(noted) == 1


async def test_a_token_that_may_start_one_job_does_nothing_else(site):
    allowed_job, other = "DailyReport", "SyncStock"

    def make(db):
        return account_sessions.create_token(
            db,
            "shop-1",
            Role.OPERATOR,
            by="test",
            now=datetime.now(UTC),
            account="shop",
            jobs=[allowed_job],
        )

    secret = await site.change(make)
    shop = (await site.stranger()).client
    shop.headers["Authorization"] = f"Bearer {secret}"
    started = await shop.post(f"/api/jobs/{allowed_job}/trigger")
    run_id = started.json().get("run_id")
    assert started.status_code == 200, started.text
    assert (await shop.get(f"/api/runs/{run_id}")).status_code == 200
    foreign = await site.add_run(other, "succeeded")
    refused = {
        "start another": await shop.post(f"/api/jobs/{other}/trigger"),
        "look at another": await shop.get(f"/api/runs/{foreign}"),
        "list": await shop.get("/api/runs"),
        "jobs": await shop.get("/api/jobs"),
        "pause": await shop.post(f"/api/jobs/{allowed_job}/pause"),
        "cancel": await shop.post(f"/api/runs/{run_id}/cancel"),
        "audit": await shop.get("/api/audit"),
        "page": await shop.get("/jobs/runs"),
        "button": await shop.post(f"/jobs/jobs/{allowed_job}/run"),
        "sessions": await shop.get("/api/sessions"),
    }
    assert {what: answer.status_code for what, answer in refused.items()} == dict.fromkeys(
        refused, 403
    )
    admin = await site.program("admin")
    (entry,) = (await admin.get("/api/audit", params={"run_id": run_id})).json()
    assert entry["actor"] == "API (shop)"
    shown = {token["name"]: token for token in (await admin.get("/api/tokens")).json()}["shop-1"]
    assert shown["prefix"] == secret[:10]
    assert (shown["scope"], shown["account"]) == (f"start {allowed_job}", "shop")
    assert shown["last_used_at"] is not None
    assert secret not in str(shown)
    yossi = await site.user("admin", "yossi")
    assert re.search(rf"<code>{secret[:10]}</code>", await yossi.page("/jobs/account"))
