from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler.core.errors import AuthError
from targcc_scheduler.security import passwords, sessions, tokens
from targcc_scheduler.security import users as user_rows
from targcc_scheduler.security.login_links import LoginLinks
from targcc_scheduler.security.roles import Role
from targcc_scheduler.security.throttle import AttemptLimiter, LoginGuard
from targcc_scheduler.storage.engines import make_engine

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)


@pytest.fixture
async def db(database_url: str):
    engine = make_engine(database_url)
    async with engine.begin() as connection:
        yield connection
    await engine.dispose()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_role_may_do_what_the_one_before_it_may():
    assert Role.ADMIN.covers(Role.OPERATOR)
    assert Role.OPERATOR.covers(Role.VIEWER)
    assert Role.VIEWER.covers(Role.VIEWER)
    assert not Role.VIEWER.covers(Role.OPERATOR)
    assert not Role.OPERATOR.covers(Role.ADMIN)


def test_a_password_is_kept_as_argon2_and_nothing_else_fits():
    kept = passwords.hash_password("correct horse battery")
    assert kept.startswith("$argon2id$")
    assert "correct" not in kept
    assert passwords.password_fits(kept, "correct horse battery")
    assert not passwords.password_fits(kept, "correct horse batterY")
    assert not passwords.password_fits(None, "correct horse battery")
    assert not passwords.password_fits("no hash at all", "correct horse battery")


def test_a_short_password_is_refused():
    with pytest.raises(AuthError, match="at least 10 characters"):
        passwords.hash_password("short")


async def test_a_name_is_taken_in_any_case(db: AsyncConnection):
    await user_rows.add_user(db, "Dana", "hash", Role.ADMIN, NOW)
    with pytest.raises(AuthError, match="there is a user dana already"):
        await user_rows.add_user(db, "dana", "hash", Role.VIEWER, NOW)
    assert await user_rows.find_login(db, "DANA") == ("Dana", Role.ADMIN, "hash")


@pytest.mark.parametrize("name", ["", "two words", "login link", "a" * 65, "<b>", "x\n"])
async def test_what_is_no_name_is_refused(db: AsyncConnection, name: str):
    with pytest.raises(AuthError, match="not a user name"):
        await user_rows.add_user(db, name, "hash", Role.ADMIN, NOW)


async def test_a_session_ends(db: AsyncConnection):
    secret = await sessions.start_session(db, "dana", Role.VIEWER, NOW, timedelta(hours=1))
    just_before, then = NOW + timedelta(minutes=59), NOW + timedelta(hours=1)
    principal = await sessions.find_session(db, secret, just_before)
    assert principal is not None
    assert (principal.name, principal.role) == ("dana", Role.VIEWER)
    assert await sessions.find_session(db, secret, then) is None
    assert await sessions.find_session(db, "another secret", NOW) is None


@pytest.mark.parametrize("change", ["remove", "password"])
async def test_a_user_who_is_removed_or_has_another_password_is_signed_out(
    db: AsyncConnection, change: str
):
    await user_rows.add_user(db, "dana", "hash", Role.ADMIN, NOW)
    secret = await sessions.start_session(db, "dana", Role.ADMIN, NOW, timedelta(hours=1))
    if change == "remove":
        await user_rows.remove_user(db, "dana")
    else:
        await user_rows.change_password(db, "dana", "another hash")
    assert await sessions.find_session(db, secret, NOW) is None


async def test_a_token_is_kept_as_a_digest_and_ends_when_it_says(db: AsyncConnection):
    secret = await tokens.create_token(
        db, "ci", Role.OPERATOR, by="CLI (dana)", now=NOW, life=timedelta(days=1)
    )
    (kept,) = (await db.exec_driver_sql("SELECT * FROM c_JobToken")).mappings()
    assert secret not in map(str, kept.values())
    token = await tokens.find_token(db, secret, NOW)
    assert token is not None
    assert token.role is Role.OPERATOR
    assert await tokens.find_token(db, secret, NOW + timedelta(days=1)) is None


async def test_a_revoked_token_opens_nothing(db: AsyncConnection):
    secret = await tokens.create_token(db, "ci", Role.VIEWER, by="x", now=NOW)
    with pytest.raises(AuthError, match="there is a token ci already"):
        await tokens.create_token(db, "ci", Role.VIEWER, by="x", now=NOW)
    await tokens.revoke_token(db, "ci")
    assert await tokens.find_token(db, secret, NOW) is None
    with pytest.raises(AuthError, match="there is no token ci"):
        await tokens.revoke_token(db, "ci")


def test_a_login_link_works_once():
    links = LoginLinks()
    secret = links.create()
    assert not links.use("guess")
    assert links.use(secret)
    assert not links.use(secret)


def test_a_login_link_works_for_ten_minutes():
    clock = Clock()
    links = LoginLinks(clock)
    early, late = links.create(), links.create()
    clock.now = 599
    assert links.use(early)
    clock.now = 600
    assert not links.use(late)


def test_each_failure_beyond_the_free_ones_doubles_the_wait():
    clock = Clock()
    limiter = AttemptLimiter(free=2, longest=10, clock=clock)
    waits = []
    for _ in range(7):
        limiter.failed("dana")
        waits.append(limiter.wait("dana"))
    assert waits == [0, 0, 2, 4, 8, 10, 10]
    assert limiter.wait("yossi") == 0
    clock.now += 10
    assert limiter.wait("dana") == 0


def test_after_a_long_quiet_time_failures_are_forgotten():
    clock = Clock()
    limiter = AttemptLimiter(free=1, longest=10, clock=clock)
    for _ in range(3):
        limiter.failed("dana")
    clock.now = 100
    limiter.failed("dana")
    assert limiter.wait("dana") == 0


def test_signing_in_forgives_and_one_address_cannot_try_many_names():
    guard = LoginGuard(Clock())
    for _ in range(5):
        guard.begin("dana", "10.0.0.1")
    guard.succeeded("dana", "10.0.0.1")
    guard.begin("dana", "10.0.0.1")
    assert guard.wait("dana", "10.0.0.1") == 0
    for number in range(40):
        guard.begin(f"name{number}", "10.0.0.9")
    assert guard.wait("somebody new", "10.0.0.9") > 0
    assert guard.wait("somebody new", "10.0.0.1") == 0
