"""Secret arguments are stored encrypted."""

import asyncio
import json

import pydantic
import pytest
from click.testing import CliRunner
from pydantic import Secret, SecretBytes, SecretStr
from targcc_scheduler import Actor, ActorKind, job
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.errors import ArgumentsError, SecretError
from targcc_scheduler.core.secrets import SEALS, Seals, new_key
from targcc_scheduler.kernel.jobs.arguments import parameters_of

DANA = Actor(ActorKind.MANUAL, "dana")
VALUE = "Zx9-not-for-the-database"
SEEN = []


class Account(pydantic.BaseModel):
    """User name and secret key of an account."""

    user: str
    key: SecretStr


@job(retries=0)
async def sign_in(key: SecretStr, account: Account | None = None, month: int = 1):
    SEEN.append((key.get_secret_value(), account and account.key.get_secret_value(), month))


@pytest.fixture
def keys():
    """Set the encryption keys of this process; reset them at the end."""
    yield SEALS.use
    SEALS._keys, SEALS._box = (), None


def stored(database):
    return [row["ArgumentsJson"] for row in database.rows("SELECT ArgumentsJson FROM c_JobRun")]


async def test_a_secret_argument_is_sealed_in_the_database_and_reaches_the_job(
    keys, scheduler, database
):
    keys([new_key()])
    SEEN.clear()
    account = {"user": "dana", "key": f"{VALUE}-2"}
    run = await scheduler.enqueue(sign_in, by=DANA, key=VALUE, account=account, month=11)
    assert await scheduler.wait(run, timeout=30) == "succeeded"
    again = await scheduler.retry(run, by=DANA)
    assert await scheduler.wait(again, timeout=30) == "succeeded"

    assert [(VALUE, f"{VALUE}-2", 11)] * 2 == SEEN
    assert all(VALUE not in text and '"month": 11' in text for text in stored(database))
    for file in database.path.parent.glob("jobs.db*"):
        assert not file.is_file() or VALUE.encode() not in file.read_bytes()


def test_a_new_key_takes_over_from_the_old_one(keys):
    old, new = new_key(), new_key()
    parameters = parameters_of(sign_in, bound=False)
    plain = parameters.check({"key": VALUE})
    assert VALUE in plain  # without an encryption key
    keys([old])
    first = parameters.reseal(plain)
    keys([new, old])
    second = parameters.reseal(first)
    keys([new])
    assert parameters.load(second)["key"].get_secret_value() == VALUE
    with pytest.raises(ArgumentsError, match="not in TARGCC_SECRET_KEY"):
        parameters.load(first)


@pytest.mark.usefixtures("keys")
async def test_rotate_seals_what_was_stored_plainly(scheduler, database, monkeypatch):
    SEEN.clear()
    run = await scheduler.enqueue(sign_in, by=DANA, key=VALUE)
    await scheduler.wait(run, timeout=30)
    assert VALUE in stored(database)[0]
    await scheduler.stop()
    monkeypatch.setenv("TARGCC_DATABASE_URL", database.url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", __name__)
    monkeypatch.setenv("TARGCC_SECRET_KEY", new_key())
    result = await asyncio.to_thread(CliRunner().invoke, main, ["secret", "rotate"])
    assert "of 1 runs are sealed" in result.output
    assert VALUE not in stored(database)[0]
    assert set(json.loads(stored(database)[0])["key"]) == {"$sealed"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [(SecretStr, "a"), (SecretBytes, b"b"), (Secret[int], 3), (Account | None, {"user": "a", "key": "b"}), (list[SecretStr], ["a"])],
)  # fmt: skip
def test_every_kind_of_secret_is_one(keys, kind, value):
    keys([new_key()])

    async def execute(given): ...

    execute.__annotations__["given"] = kind
    parameters = parameters_of(execute, bound=False)
    assert parameters.secrets == {"given"}
    sealed = parameters.check({"given": value})
    assert set(json.loads(sealed)["given"]) == {"$sealed"}
    assert parameters.load(sealed)["given"] == pydantic.TypeAdapter(kind).validate_python(value)


class Tree(pydantic.BaseModel):
    """Recursive model."""

    children: list["Tree"] = []
    name: str = ""


def test_a_model_that_holds_itself_is_looked_through():
    async def execute(given): ...

    execute.__annotations__["given"] = Tree
    assert parameters_of(execute, bound=False).secrets == set()


def test_a_sealed_value_is_not_opened_without_its_key():
    seals = Seals()
    with pytest.raises(SecretError, match="not a key"):
        seals.use(["short"])
    seals.use([new_key()])
    sealed = seals.seal({"a": 1, "b": None}, ["a", "b"])
    assert sealed["b"] is None
    assert seals.open(sealed, ["a"]) == {"a": 1, "b": None}
    tampered = {"a": {"$sealed": sealed["a"]["$sealed"][:-4] + "AAA="}}
    for other in (Seals(), seals):
        with pytest.raises(SecretError, match=r"a is sealed|was changed"):
            other.open(tampered, ["a"])
