"""Admins add, change and remove users, roles and tokens on a page."""

import asyncio
import html
import re
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from targcc_scheduler.core.errors import AuthError
from targcc_scheduler.core.identity import Grant, Principal, Role
from targcc_scheduler.db.tables import job_user
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.accounts import roles, sessions, users
from web_fixtures import PASSWORD, running

PEOPLE = "/jobs/people"


@pytest.fixture
def database_url(migrated_url: str) -> str:
    return migrated_url


def secret_in(text: str) -> str:
    match = re.search(r'<code id="secret">([^<]+)</code>', text)
    assert match, text
    return html.unescape(match[1])


async def sign_in(site, name, password):
    visitor = await site.stranger()
    answer = await visitor.client.post("/jobs/login", data={"name": name, "password": password})
    return answer.status_code, visitor


async def audited(site):
    admin = await site.program("admin")
    rows = (await admin.get("/api/audit")).json()
    return [row["sentence"] for row in rows if "sign" not in row["action"]]


async def test_an_admin_adds_changes_and_removes_a_user(site):
    dana = await site.user("admin", "dana")
    added = await dana.send(PEOPLE, act="add-user", name="noa", role="viewer")
    assert (added.status_code, added.headers["cache-control"]) == (200, "no-store")
    password = secret_in(added.text)
    assert password not in await dana.page(PEOPLE)
    status, noa = await sign_in(site, "noa", password)
    assert status == 303
    assert (await noa.get("/jobs/webhooks")).status_code == 403

    await dana.send(PEOPLE, act="change-role", name="noa", role="operator")
    assert (await noa.get("/jobs/webhooks")).status_code == 200
    renewed = secret_in((await dana.send(PEOPLE, act="new-password", name="noa")).text)
    assert (await noa.get("/jobs")).status_code == 303
    assert (await sign_in(site, "noa", password))[0] == 401
    status, noa = await sign_in(site, "noa", renewed)
    assert status == 303
    await dana.send(PEOPLE, act="end-sessions", name="noa")
    assert (await noa.get("/jobs")).status_code == 303

    await dana.send(PEOPLE, act="remove-user", name="noa")
    assert (await sign_in(site, "noa", renewed))[0] == 401
    assert "noa is removed." in await dana.page(PEOPLE)
    assert "noa" not in await dana.page(PEOPLE)
    assert await audited(site) == [
        "dana removed user noa on the dashboard",
        "dana ended sessions on the dashboard",
        "dana changed the password of noa on the dashboard",
        "dana changed the role of noa on the dashboard",
        "dana added user noa on the dashboard",
    ]


async def test_viewers_operators_and_programs_may_not_change_people(site):
    for role in ("viewer", "operator"):
        person = await site.user(role)
        assert 'href="/jobs/people"' not in await person.page("/jobs")
        assert (await person.get(PEOPLE)).status_code == 403
        sent = await person.send(PEOPLE, act="change-role", name=f"{role}-person", role="admin")
        assert sent.status_code == 403
    program = await site.program("admin")
    sent = await program.post(PEOPLE, data={"act": "add-user", "name": "noa", "role": "admin"})
    assert sent.status_code == 403
    dana = await site.user("admin", "dana")
    assert 'href="/jobs/people"' in await dana.page("/jobs")
    forged = await dana.client.post(PEOPLE, data={"act": "add-user", "name": "x", "role": "admin"})
    assert forged.status_code == 403
    assert {user.role for user in await site.scheduler.read(users.users)} == {
        *("viewer", "operator", "admin")
    }
    assert len(await site.scheduler.read(users.users)) == 3


async def test_the_last_admin_stays_and_no_admin_changes_the_own_account(site):
    dana = await site.user("admin", "dana")
    acts = ({"act": "remove-user"}, {"act": "change-role", "role": "viewer"})
    for form in acts:
        refused = await dana.send(PEOPLE, name="dana", **form)
        assert refused.status_code == 422
        assert "The user dana is the last admin" in refused.text
    dana.client.cookies.set("targcc_language", "he")
    refused = await dana.send(PEOPLE, name="dana", act="remove-user")
    assert "הוא המנהל האחרון" in refused.text
    dana.client.cookies.set("targcc_language", "en")
    await site.add_user("yossi", "admin")
    for form in (*acts, {"act": "new-password"}, {"act": "end-sessions"}):
        refused = await dana.send(PEOPLE, name="dana", **form)
        assert refused.status_code == 422
        assert "own" in refused.text
    assert await audited(site) == []
    assert (await dana.send(PEOPLE, act="remove-user", name="yossi")).status_code == 303
    assert (await dana.get(PEOPLE)).status_code == 200


async def test_two_admins_who_remove_each_other_at_once_leave_an_admin(site):
    await site.add_user("dana", "admin")
    await site.add_user("yossi", "admin")

    async def remove(by, name):
        principal = Principal(by, Role.ADMIN, second_factor=False)

        async def work(db):
            await users.check_change(db, principal, name)
            await users.remove_user(db, name)

        await site.change(work)

    results = await asyncio.gather(
        remove("dana", "yossi"), remove("yossi", "dana"), return_exceptions=True
    )
    assert sorted(isinstance(result, AuthError) for result in results) == [False, True]
    assert len(await site.scheduler.read(users.users)) == 1


async def test_a_change_of_a_user_locks_the_admins(migrated_postgresql_url):
    store = Store(migrated_postgresql_url)
    async with store.write() as db:
        await users.add_user(db, "dana", "hash", "admin", datetime.now(UTC))
    c = job_user.c
    free = sa.select(c.Name).where(c.Role == "admin").with_for_update(skip_locked=True)
    async with store.write() as db:
        await users.check_change(db, Principal("oidc:noa", Role.ADMIN), "noa")
        async with store.write() as other:
            assert list(await other.scalars(free)) == []
    await store.dispose()


async def test_a_login_link_adds_an_admin_first(site):
    visitor = await site.stranger()
    link = users.LOGIN_LINKS.create()
    assert (await visitor.get(f"/jobs/login?token={link}")).status_code == 303
    page = await visitor.page(PEOPLE)
    assert "No users yet" in page
    assert "No tokens yet" in page
    visitor.csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    refused = await visitor.send(PEOPLE, act="add-user", name="noa", role="viewer")
    assert "The first user has to be an admin" in refused.text
    added = await visitor.send(PEOPLE, act="add-user", name="dana", role="admin")
    assert (await sign_in(site, "dana", secret_in(added.text)))[0] == 303
    refused = await visitor.send(PEOPLE, act="remove-user", name="dana")
    assert "The user dana is the last admin" in refused.text


async def test_a_token_is_shown_once_and_works_until_it_is_revoked(site):
    dana = await site.user("admin", "dana")
    made = await dana.send(
        PEOPLE, act="create-token", name="shop", role="operator", days="90", account="shop-app"
    )
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store")
    secret = secret_in(made.text)
    named = {"Authorization": f"Bearer {secret}"}
    shop = (await site.stranger()).client
    assert (await shop.get("/api/jobs", headers=named)).status_code == 200
    page = await dana.page(PEOPLE)
    assert secret not in page
    assert secret[:10] in page
    token = (await site.scheduler.read(sessions.tokens))[0]
    assert timedelta(days=89) < token.expires_at - datetime.now(UTC) <= timedelta(days=90)
    assert (token.role, token.account, token.created_by) == (
        "operator",
        "shop-app",
        "Manual (dana)",
    )
    await dana.send(PEOPLE, act="revoke-token", name="shop")
    assert (await shop.get("/api/jobs", headers=named)).status_code == 401
    assert (await audited(site))[:2] == [
        "dana revoked token shop on the dashboard",
        "dana created token shop on the dashboard",
    ]


async def test_a_token_for_one_job_starts_that_job_alone(site):
    dana = await site.user("admin", "dana")
    unknown = await dana.send(
        PEOPLE, act="create-token", name="shop", role="viewer", days="", jobs="DailyReprt"
    )
    assert unknown.status_code == 422
    assert "DailyReport" in unknown.text
    assert 'value="DailyReprt"' in unknown.text
    made = await dana.send(
        PEOPLE, act="create-token", name="shop", role="viewer", days="", jobs="DailyReport"
    )
    named = {"Authorization": f"Bearer {secret_in(made.text)}"}
    shop = (await site.stranger()).client
    assert (await shop.post("/api/jobs/DailyReport/trigger", headers=named)).status_code == 200
    assert (await shop.post("/api/jobs/SyncStock/trigger", headers=named)).status_code == 403


async def test_an_admin_makes_changes_and_removes_a_role(site):
    dana = await site.user("admin", "dana")
    await dana.send(PEOPLE, act="create-role", name="finance", may="operator", pattern="Daily*")
    await dana.send(PEOPLE, act="grant", name="finance", may="viewer", pattern="Sync*")
    await dana.send(PEOPLE, act="revoke", name="finance", pattern="Daily*")
    assert await site.scheduler.read(roles.roles) == (
        roles.OwnRole("finance", (Grant(Role.VIEWER, "Sync*"),)),
    )
    await dana.send(PEOPLE, act="add-user", name="noa", role="finance")
    held = await dana.send(PEOPLE, act="remove-role", name="finance")
    assert "noa have the role finance" in held.text.casefold()
    await dana.send(PEOPLE, act="remove-user", name="noa")
    await dana.send(PEOPLE, act="remove-role", name="finance")
    assert await site.scheduler.read(roles.roles) == ()


async def test_wrong_forms_are_refused_with_a_reason(site):
    dana = await site.user("admin", "dana")
    for form, reason in (
        ({"act": "add-user", "name": "<b>x</b>", "role": "viewer"}, "Not a user name"),
        ({"act": "add-user", "name": "dana", "role": "viewer"}, "There is a user dana already"),
        ({"act": "add-user", "name": "noa", "role": "king"}, "There is no role king"),
        ({"act": "remove-user", "name": "nobody"}, "There is no user nobody"),
        ({"act": "end-sessions", "name": "nobody"}, "There is no session of nobody"),
        ({"act": "reset-second-factor", "name": "nobody"}, "Nobody has no second factor"),
        ({"act": "create-token", "name": "x", "role": "viewer", "days": "9"}, "Not a lifetime"),
        ({"act": "revoke-token", "name": "x"}, "There is no token x"),
        ({"act": "create-role", "name": "x", "may": "all", "pattern": "*"}, "A grant is viewer"),
    ):
        refused = await dana.send(PEOPLE, **form)
        assert (refused.status_code, reason in refused.text) == (422, True), (form, refused.text)
    assert (await dana.send(PEOPLE, act="nonsense")).status_code == 404
    assert await audited(site) == []


async def test_hostile_names_are_text(site):
    dana = await site.user("admin", "dana")
    hostile, now = "<script>alert(1)</script>", datetime.now(UTC)

    async def insert(db):
        await sessions.start_session(db, f"oidc:{hostile}", "viewer", now, timedelta(hours=1))
        await sessions.create_token(db, "shop", "viewer", by=f"CLI ({hostile})", now=now)
        await roles.create(db, "finance", [Grant(Role.VIEWER, hostile)])

    await site.change(insert)
    refused = await dana.send(PEOPLE, act="add-user", name=hostile, role="viewer")
    for page in (await dana.page(PEOPLE), refused.text):
        assert hostile not in page
        assert page.count(html.escape(hostile)) >= 3
    ended = await dana.send(PEOPLE, act="end-sessions", name=f"oidc:{hostile}")
    assert ended.status_code == 303
    assert hostile not in await dana.page(PEOPLE)


async def test_tokens_of_a_removed_user_are_named(site):
    dana, yossi = await site.user("admin", "dana"), await site.user("admin", "yossi")
    await yossi.send(PEOPLE, act="create-token", name="shop", role="viewer", days="30")
    await dana.send(PEOPLE, act="remove-user", name="yossi")
    assert "Tokens of this user still work: shop." in await dana.page(PEOPLE)


async def test_a_user_changes_the_own_password(site):
    dana = await site.user("viewer", "dana")
    address, better = "/jobs/account/password", "several words apart from others"
    for form, reason in (
        ({"present": "wrong", "password": better}, "The present password is wrong."),
        ({"present": PASSWORD, "password": "short"}, "A password has at least 10 characters."),
        ({"present": PASSWORD, "password": "ab" * 2049}, "A password has at most 4096 characters."),
    ):
        await dana.send(address, **form)
        assert reason in await dana.page("/jobs/account")
    changed = await dana.send(address, present=PASSWORD, password=better)
    assert changed.headers["location"] == "/jobs/login"
    assert (await dana.get("/jobs")).status_code == 303
    assert (await sign_in(site, "dana", PASSWORD))[0] == 401
    assert (await sign_in(site, "dana", better))[0] == 303
    assert await audited(site) == ["dana changed the password of dana on the dashboard"]


async def test_wrong_present_passwords_are_slowed_down(site):
    dana = await site.user("viewer", "dana")
    for _ in range(6):
        await dana.send("/jobs/account/password", present="wrong", password="x")
    await dana.send("/jobs/account/password", present=PASSWORD, password="several words apart")
    assert "Too many attempts." in await dana.page("/jobs/account")
    assert (await sign_in(site, "dana", PASSWORD))[0] == 303


async def test_the_page_names_the_provider_that_gives_people_their_roles(settings):
    provided = settings.model_copy(
        update={"oidc_issuer": "https://login.example.com", "oidc_name": "<i>Login</i>"}
    )
    async with running(provided, work=False) as site:
        page = await (await site.user("admin")).page(PEOPLE)
    assert "People also sign in with <bdi>&lt;i&gt;Login&lt;/i&gt;</bdi>" in page


async def test_an_admin_who_needs_a_second_factor_turns_it_on_first(settings):
    strict = settings.model_copy(update={"require_second_factor": "admin"})
    async with running(strict, work=False) as site:
        dana = await site.user("admin", "dana")
        sent = await dana.send(PEOPLE, act="add-user", name="noa", role="admin")
        assert sent.headers["location"] == "/jobs/account/second-factor"
        assert [user.name for user in await site.scheduler.read(users.users)] == ["dana"]


async def test_a_name_that_another_admin_adds_at_the_same_time_is_refused(site, monkeypatch):
    dana = await site.user("admin", "dana")

    async def is_free(*_):
        return None

    monkeypatch.setattr("targcc_scheduler.features.accounts.model.find_user", is_free)
    refused = await dana.send(PEOPLE, act="add-user", name="dana", role="viewer")
    assert refused.status_code == 422
    assert "Another person made such a change" in refused.text
