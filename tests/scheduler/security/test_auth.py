import asyncio
import statistics
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler.core.errors import AuthError
from targcc_scheduler.core.identity import Role
from targcc_scheduler.db.engines import make_engine
from targcc_scheduler.features.accounts import passwords, sessions, users
from targcc_scheduler.features.accounts import sessions as account_sessions
from targcc_scheduler.features.accounts.providers import PasswordChecks, TooManyChecks
from targcc_scheduler.features.accounts.throttle import AttemptLimiter, LoginGuard
from targcc_scheduler.features.accounts.users import LoginLinks

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


def test_the_commonest_passwords_are_refused_whatever_is_put_around_them():
    commonest = (
        *(
            "1234567890",
            "Password123!",
            "P@ssw0rd2026",
            "qwertyuiop",
            "1q2w3e4r5t",
            "Welcome2026!",
            "letmein12345",
        ),
        *("iloveyou123", "0987654321", "aaaaaaaaaa", "abcabcabca", "Administrator1"),
        *("20261125000", "Summer2026!!", "zxcvbnm123", "Dana-123456", "abcdefghijk", "qwertzuiop1"),
    )
    passed = [text for text in commonest if not passwords.is_common(text, "dana")]
    assert passed == []
    with pytest.raises(AuthError, match="guessers try this"):
        passwords.hash_password("Password123!")
    fine = (
        "correct horse battery",
        "a good long password",
        "tram-violet-oxide",
        "Zürich liegt am See",
    )
    assert not any(passwords.is_common(text, "dana") for text in fine)


def test_an_unknown_name_takes_as_long_as_a_known_one(monkeypatch):
    """Known and unknown names cost the same work: the same number of hash comparisons at the same cost."""
    hasher = PasswordHasher(time_cost=2, memory_cost=8_192, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", lambda: hasher)
    passwords._nobodys_hash.cache_clear()
    known = hasher.hash("correct horse battery")
    passwords.password_fits(None, "x")  # creates the dummy hash

    def seconds(stored):
        begun = time.process_time()
        assert not passwords.password_fits(stored, "a guess that is wrong")
        return time.process_time() - begun

    pairs = [(seconds(known), seconds(None)) for _ in range(9)]
    for_known, for_unknown = (statistics.median(side) for side in zip(*pairs, strict=True))
    assert 0.5 < for_unknown / for_known < 2
    passwords._nobodys_hash.cache_clear()


async def test_a_name_is_taken_in_any_case(db: AsyncConnection):
    await users.add_user(db, "Dana", "hash", Role.ADMIN, NOW)
    with pytest.raises(AuthError, match="there is a user dana already"):
        await users.add_user(db, "dana", "hash", Role.VIEWER, NOW)
    assert await users.find_login(db, "DANA") == ("Dana", Role.ADMIN, "hash", False)


@pytest.mark.parametrize("name", ["", "two words", "login link", "a" * 65, "<b>", "x\n"])
async def test_what_is_no_name_is_refused(db: AsyncConnection, name: str):
    with pytest.raises(AuthError, match="not a user name"):
        await users.add_user(db, name, "hash", Role.ADMIN, NOW)


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
    await users.add_user(db, "dana", "hash", Role.ADMIN, NOW)
    secret = await sessions.start_session(db, "dana", Role.ADMIN, NOW, timedelta(hours=1))
    if change == "remove":
        await users.remove_user(db, "dana")
    else:
        await users.change_password(db, "dana", "another hash")
    assert await sessions.find_session(db, secret, NOW) is None


async def test_a_token_is_kept_as_a_digest_and_ends_when_it_says(db: AsyncConnection):
    secret = await account_sessions.create_token(
        db, "ci", Role.OPERATOR, by="CLI (dana)", now=NOW, life=timedelta(days=1)
    )
    (kept,) = (await db.exec_driver_sql("SELECT * FROM c_JobToken")).mappings()
    assert secret not in map(str, kept.values())
    token = await account_sessions.find_token(db, secret, NOW)
    assert token is not None
    assert token.role == Role.OPERATOR
    assert await account_sessions.find_token(db, secret, NOW + timedelta(days=1)) is None


async def test_a_revoked_token_opens_nothing(db: AsyncConnection):
    secret = await account_sessions.create_token(db, "ci", Role.VIEWER, by="x", now=NOW)
    with pytest.raises(AuthError, match="there is a token ci already"):
        await account_sessions.create_token(db, "ci", Role.VIEWER, by="x", now=NOW)
    await account_sessions.revoke_token(db, "ci")
    assert await account_sessions.find_token(db, secret, NOW) is None
    with pytest.raises(AuthError, match="there is no token ci"):
        await account_sessions.revoke_token(db, "ci")


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
    for number in range(60):
        guard.begin(f"name{number}", "10.0.0.9")
    assert guard.wait("somebody new", "10.0.0.9") > 0
    assert guard.wait("somebody new", "10.0.0.1") == 0


def test_sixty_guesses_at_one_name_from_thirty_addresses_are_not_all_tried():
    guard, tried = LoginGuard(Clock()), 0
    for guess in range(60):
        address = f"10.0.0.{guess % 30}"
        if guard.wait("dana", address) == 0:
            guard.begin("dana", address)
            tried += 1
    assert tried == 30


def test_a_script_with_ten_thousand_guesses_keeps_the_real_person_not_out():
    clock = Clock()
    guard, tried = LoginGuard(clock), 0
    for guess in range(10_000):  # 100 guesses a second
        clock.now = guess / 100
        address = f"10.0.0.{guess % 50}"
        if guard.wait("dana", address) == 0:
            guard.begin("dana", address)
            tried += 1
    assert tried < 400
    assert guard.wait("dana", "192.168.7.7") == 0  # an unknown device
    # her own device at the guesser's address
    assert guard.wait("dana", "10.0.0.1", device="hers") == 0


def test_a_colleague_behind_the_same_proxy_is_not_locked_out():
    guard = LoginGuard(Clock())
    for _ in range(45):
        guard.begin("dana", "10.0.0.1")
    assert guard.wait("dana", "10.0.0.1") > 60
    assert guard.wait("yossi", "10.0.0.1") == 0


def test_one_address_that_invents_names_waits_at_most_half_a_minute():
    clock = Clock()
    guard = LoginGuard(clock)
    for number in range(500):
        guard.begin(f"name{number}", "10.0.0.9")
    assert 0 < guard.wait("somebody new", "10.0.0.9") <= 30
    clock.now += 30
    assert guard.wait("somebody new", "10.0.0.9") == 0


def test_one_network_of_ipv6_counts_as_one_address():
    guard, tried = LoginGuard(Clock()), 0
    for guess in range(100):
        address = f"2001:db8:1:2::{guess:x}"
        if guard.wait("dana", address) == 0:
            guard.begin("dana", address)
            tried += 1
    assert tried < 10


def test_a_device_is_known_by_the_user_it_was_made_for_until_the_password_changes():
    cookie = account_sessions.new_device("Dana", "hash one")
    assert account_sessions.known_device(cookie, "dana", "hash one") == cookie.split(".")[0]
    for wrong in (
        account_sessions.known_device(cookie, "yossi", "hash one"),
        account_sessions.known_device(cookie, "dana", "hash two"),
        account_sessions.known_device(cookie, "dana", None),
        account_sessions.known_device(cookie[:-1] + "é", "dana", "hash one"),
        account_sessions.known_device("", "dana", "hash one"),
    ):
        assert wrong is None


async def test_only_a_few_passwords_are_compared_at_the_same_time(monkeypatch):
    here, most, lock = 0, 0, threading.Lock()

    def slow(_hash, _password):
        nonlocal here, most
        with lock:
            here += 1
            most = max(most, here)
        go.wait(10)
        with lock:
            here -= 1
        return False

    go = threading.Event()
    monkeypatch.setattr("targcc_scheduler.features.accounts.passwords.password_fits", slow)
    checks = PasswordChecks(at_once=2, waiting=3)
    tries = [asyncio.ensure_future(checks.fits(None, "x")) for _ in range(8)]
    await asyncio.sleep(0)
    go.set()
    ended = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(result) for result in ended] == [bool] * 5 + [TooManyChecks] * 3
    assert most <= 2
