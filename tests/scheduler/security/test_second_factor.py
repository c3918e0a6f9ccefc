"""Second factor: time-based codes, recovery codes, and protection against guessing and reuse."""

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from targcc_scheduler.core.errors import AuthError
from targcc_scheduler.core.identity import Role
from targcc_scheduler.core.secrets import Seals, new_key
from targcc_scheduler.db.tables import job_schedule
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.accounts import second_factor, users
from targcc_scheduler.features.accounts import second_factor as account_second_factor
from targcc_scheduler.features.accounts.pages import SignIn
from targcc_scheduler.features.accounts.throttle import AttemptLimiter
from web_fixtures import PASSWORD, running

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)
RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
RFC_6238 = {  # appendix B, SHA-1
    59: "94287082",
    1111111109: "07081804",
    1111111111: "14050471",
    1234567890: "89005924",
    2000000000: "69279037",
    20000000000: "65353130",
}


def test_codes_are_those_of_the_rfc():
    codes = {
        at: account_second_factor.code_at(
            RFC_SECRET, at // account_second_factor.STEP_SECONDS, digits=8
        )
        for at in RFC_6238
    }
    assert codes == RFC_6238


def code_of(secret, at=NOW):
    return account_second_factor.code_at(
        secret, int(at.timestamp()) // account_second_factor.STEP_SECONDS
    )


async def test_a_code_and_a_recovery_code_work_once_and_at_once_for_one_only(
    migrated_url, monkeypatch
):
    seals = Seals()
    seals.use([new_key()])
    monkeypatch.setattr(second_factor, "SEALS", seals)
    store, secret = Store(migrated_url), account_second_factor.new_secret()
    async with store.write() as db:
        await users.add_user(db, "Dana", "hash", Role.ADMIN, NOW)
        with pytest.raises(AuthError, match="not the code"):
            await second_factor.turn_on(db, "Dana", secret, "000000x", NOW)
        codes = await second_factor.turn_on(db, "Dana", secret, code_of(secret), NOW)
        (kept,) = (await db.exec_driver_sql("SELECT * FROM c_JobUser")).mappings()
    assert not any(
        text in str(dict(kept)) for text in (secret, codes[0], codes[0].replace("-", ""))
    )

    async def use(code, at=NOW):
        async with store.write() as db:
            return await second_factor.use(db, "dana", code, at)

    later = NOW + timedelta(seconds=60)
    assert await use(code_of(secret)) is None  # the code was used for the enrolment
    assert await use(code_of(secret, NOW - timedelta(seconds=90)), NOW) is None
    assert (
        await use(f" {code_of(secret, later)[:3]} {code_of(secret, later)[3:]} ", later) == "code"
    )
    assert await use(code_of(secret, later), later) is None
    assert await use(code_of(secret, NOW + timedelta(seconds=30)), later) is None  # an earlier code
    assert await use(codes[3].lower(), later) == "recovery code, 9 left"
    assert await use(codes[3], later) is None
    assert await use(second_factor._new_recovery_code(), later) is None
    await store.dispose()


def test_a_ticket_is_one_users_and_lasts_five_minutes():
    ticket = second_factor.new_ticket("Dana", "hash one", NOW)
    fits = second_factor.ticket_fits
    assert fits(ticket, "dana", "hash one", NOW + timedelta(minutes=4))
    for name, hash_, at in (
        ("yossi", "hash one", NOW),
        ("dana", "hash two", NOW),
        ("dana", "hash one", NOW + timedelta(minutes=6)),
    ):
        assert not fits(ticket, name, hash_, at)
    assert not fits("9" * 100 + ticket, "dana", "hash one", NOW)
    assert not fits("é.é", "dana", "hash one", NOW)


async def test_it_is_turned_on_asked_for_and_turned_off_without_a_script(site):
    dana = await site.user("operator", name="dana")
    page = await dana.page("/jobs/account/second-factor")
    secret = re.search(r'name="secret" value="([A-Z2-7]+)"', page)[1]
    assert f"otpauth://totp/web-jobs%3Adana?secret={secret}" in page
    wrong = await dana.send("/jobs/account/second-factor", secret=secret, code="12")
    assert (wrong.status_code, secret in wrong.text) == (422, True)
    clock = site.scheduler.clock
    on = await dana.send(
        "/jobs/account/second-factor", secret=secret, code=code_of(secret, clock.now())
    )
    recovery = re.findall(r"<li><code>([A-Z2-7-]{19})</code>", on.text)
    assert len(recovery) == second_factor.RECOVERY_CODES

    visitor = await site.stranger()
    response = await visitor.client.post("/jobs/login", data={"name": "DANA", "password": PASSWORD})
    assert (response.status_code, "set-cookie" in response.headers) == (200, False)
    form = dict(re.findall(r'name="(name|ticket|next)" value="([^"]*)"', response.text))
    assert (await visitor.get("/jobs")).status_code == 303  # redirects to the login page
    sign_in = site.app.state.targcc.shared(SignIn)
    sign_in.codes = AttemptLimiter(free=5, clock=lambda: 0.0)
    for tried in range(7):
        answer = await visitor.client.post("/jobs/login/code", data={**form, "code": "000000"})
        assert answer.status_code == (401 if tried < 6 else 429), tried
    blocked = await visitor.client.post("/jobs/login/code", data={**form, "code": recovery[0]})
    assert blocked.status_code == 429  # the right code is ignored meanwhile
    sign_in.codes.forget("dana")
    let_in = await visitor.client.post("/jobs/login/code", data={**form, "code": recovery[0]})
    assert let_in.status_code == 303
    visitor.csrf = re.search(r'name="csrf" value="([^"]+)"', await visitor.page("/jobs"))[1]
    assert "9 recovery codes left" in await visitor.page("/jobs/account")
    forged = {**form, "ticket": "1.x", "code": recovery[1]}
    assert (await visitor.client.post("/jobs/login/code", data=forged)).status_code == 403
    assert "Wrong code" in await _after(visitor, code=recovery[0])
    assert "The second factor is off." in await _after(visitor, code=recovery[1])
    plain = await visitor.client.post("/jobs/login", data={"name": "dana", "password": PASSWORD})
    assert plain.status_code == 303


async def _after(visitor, **form):
    await visitor.send("/jobs/account/second-factor/off", **form)
    return await visitor.page("/jobs/account")


async def test_who_has_to_have_one_comes_nowhere_before(settings):
    needs = settings.model_copy(update={"require_second_factor": "admin, operator"})
    async with running(needs, work=False) as site:
        admin, viewer = await site.user("admin"), await site.user("viewer")
        for path in ("/jobs", "/jobs/runs", "/jobs/account", "/jobs/api/docs"):
            led = await admin.get(path)
            assert (led.status_code, led.headers["Location"]) == (
                303,
                "/jobs/account/second-factor",
            )
        assert (await admin.get("/api/jobs")).json()["title"] == "Second factor needed"
        assert (await admin.send("/jobs/jobs/DailyReport/pause")).status_code == 303
        assert not (
            await site.scheduler.read(lambda db: db.scalars(sa.select(job_schedule.c.PausedAt)))
        ).all()
        assert (await viewer.get("/jobs")).status_code == 200
        assert (await (await site.program("admin")).get("/api/jobs")).status_code == 200

        page = await admin.page("/jobs/account/second-factor")
        secret = re.search(r'name="secret" value="(\w+)"', page)[1]
        code = code_of(secret, datetime.now(UTC))
        await admin.send("/jobs/account/second-factor", secret=secret, code=code)
        assert (await admin.get("/jobs")).status_code == 200
        assert (await admin.get("/api/jobs")).status_code == 200
