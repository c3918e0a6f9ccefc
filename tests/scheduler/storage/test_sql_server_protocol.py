"""The scheduler's driver of SQL Server at the corners of the protocol, against the double of a server."""

import asyncio
from contextlib import nullcontext

import pytest
import sqlalchemy as sa
from pysqlbridge.tds.result import QueryError
from rt_tools import until
from sqlalchemy.exc import DBAPIError
from targcc_scheduler.core.outage import NO_APPLOCK, in_short, is_held_up, is_undone
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.engines import sync_engine
from tds_double import HALF_AN_ANSWER, PASSWORD, Cut, Slow, tds_double

CLAIM = sa.text("UPDATE c_JobRun SET State = 'running' WHERE Id = :id")
ASK = sa.text("SELECT Id FROM c_JobRun")


@pytest.fixture
def double():
    with tds_double() as made:
        made.answers["FROM c_JobRun"] = [{"Id": 7}]
        made.answers["UPDATE c_JobRun"] = []
        yield made


@pytest.fixture
async def engine(double):
    made = known.named("mssql").make_engine(sa.make_url(double.url()), pool_size=2)
    yield made
    await made.dispose()


async def _error(engine, statement=CLAIM):
    """Execute a statement in a transaction; return its error."""
    with pytest.raises(DBAPIError) as caught:
        async with engine.begin() as connection:
            await connection.execute(statement, {"id": 7} if statement is CLAIM else {})
    return caught.value


async def _answers(engine):
    async with engine.connect() as connection:
        return await connection.scalar(ASK)


async def test_a_refused_login_is_an_error_without_the_password(double):
    url = sa.make_url(double.url(password="wr0ng#secret"))
    engine = known.named("mssql").make_engine(url)
    with pytest.raises(DBAPIError) as caught:
        await _answers(engine)
    await engine.dispose()
    assert "wr0ng#secret" not in in_short(caught.value)
    assert PASSWORD not in in_short(caught.value)
    assert not is_undone(caught.value)


@pytest.mark.parametrize("lost", [Cut(), Cut(HALF_AN_ANSWER)], ids=["no answer", "half an answer"])
async def test_a_connection_that_is_lost_within_a_claim_is_replaced(double, engine, lost):
    assert await _answers(engine) == 7
    double.answers["UPDATE c_JobRun"] = lost
    error = await _error(engine)
    assert error.connection_invalidated
    assert not is_undone(error)  # the commit may have happened: only the claim's own marks tell
    double.answers["UPDATE c_JobRun"] = []
    assert await _answers(engine) == 7


async def test_after_a_restart_of_the_server_the_second_statement_at_the_latest_works(
    double, engine
):
    async with engine.connect() as first, engine.connect() as second:
        assert [await first.scalar(ASK), await second.scalar(ASK)] == [7, 7]
    double.drop_sessions()
    (outcome,) = await asyncio.gather(_answers(engine), return_exceptions=True)
    assert outcome == 7 or outcome.connection_invalidated
    assert await _answers(engine) == 7


async def test_a_cancelled_statement_is_stopped_on_the_server(double, engine):
    double.answers = {"FROM c_JobRun": Slow()}
    asking = asyncio.create_task(_answers(engine))
    await until(lambda: str(ASK) in double.seen)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [statement for statement, _ in double.stopped] == [str(ASK)]
    double.answers = {"FROM c_JobRun": [{"Id": 7}]}
    assert await _answers(engine) == 7


async def test_a_statement_that_commits_by_itself_is_sent_alone(double, engine):
    by_itself = engine.execution_options(isolation_level="AUTOCOMMIT")
    assert await _answers(by_itself) == 7
    double.seen.clear()
    assert await _answers(by_itself) == 7
    assert double.seen == [str(ASK)]
    async with engine.begin() as connection:
        await connection.execute(CLAIM, {"id": 7})
    assert double.seen[1::2] == ["BEGIN TRANSACTION", "COMMIT"]
    assert await _answers(by_itself) == 7
    assert double.seen[4:] == [str(ASK)]


CONFLICTS = {
    1205: "Transaktion (Prozess-ID 52) wurde als Deadlockopfer ausgewählt.",
    3960: "La transaction d'isolement d'instantané a été abandonnée.",
    2601: "Eine Zeile mit doppeltem Schlüssel kann in das Objekt nicht eingefügt werden.",
    2627: "Violation de la contrainte UNIQUE KEY 'UQ'.",
    NO_APPLOCK: "the application lock was not given",
    1222: "Das Zeitlimit für die Sperranforderung wurde überschritten.",
}
"""Numbers with their messages in the language of a login."""


@pytest.mark.parametrize("number", CONFLICTS)
async def test_a_conflict_is_recognised_whatever_the_language_of_the_login(double, engine, number):
    double.answers["UPDATE c_JobRun"] = QueryError(CONFLICTS[number], number=number, severity=14)
    error = await _error(engine)
    assert is_held_up(error) == (number == 1222)
    assert is_undone(error) == (number != 1222)
    assert await _answers(engine) == 7


async def test_an_application_lock_that_is_not_given_is_tried_again(double, engine):
    dialect, locks = known.named("mssql"), []

    def refused_once(query):
        locks.append(query.sql)
        return [] if len(locks) > 1 else QueryError("not given", number=NO_APPLOCK, severity=16)

    double.answers["sp_getapplock"] = refused_once
    for is_given in (False, True):
        with nullcontext() if is_given else pytest.raises(DBAPIError) as caught:
            async with engine.begin() as connection:
                await dialect.lock_job(connection, "Job")
        assert is_given or is_undone(caught.value)
    assert [f"IF @answer < 0 THROW {NO_APPLOCK}," in lock for lock in locks] == [True, True]


@pytest.fixture
def _ends_transactions(double):
    """A server that ends the transaction at an error and does not tell the driver, as Babelfish does."""
    double.answers["UPDATE c_JobRun"] = QueryError("Arithmetic overflow", number=8115)
    double.answers["ROLLBACK"] = lambda _: (
        []
        if any(statement.startswith("IF @@TRANCOUNT = 0 BEGIN") for statement in double.seen)
        else QueryError("no corresponding BEGIN TRANSACTION", number=3903)
    )
    double.answers["@@TRANCOUNT"] = [{"count": 1}]  # a query of the count begins a transaction


@pytest.mark.usefixtures("_ends_transactions")
async def test_a_rollback_without_a_transaction_does_not_hide_the_first_error(engine):
    assert "Arithmetic overflow" in in_short(await _error(engine))
    assert await _answers(engine) == 7


@pytest.mark.usefixtures("_ends_transactions")
def test_a_rollback_without_a_transaction_hides_no_error_of_a_migration(double):
    with (
        pytest.raises(DBAPIError, match="Arithmetic overflow"),
        sync_engine(double.url()) as engine,
        engine.begin() as connection,
    ):
        connection.execute(CLAIM, {"id": 7})


async def test_a_rollback_that_fails_is_an_error(double, engine):
    double.answers["ROLLBACK"] = QueryError("The log is full", number=9002)
    async with engine.connect() as connection:
        await connection.execute(ASK)
        with pytest.raises(DBAPIError, match="The log is full"):
            await connection.rollback()


async def test_another_error_of_the_server_is_no_conflict(double, engine):
    double.answers["UPDATE c_JobRun"] = QueryError("Invalid object name", number=208)
    error = await _error(engine)
    assert not is_undone(error)
    assert not is_held_up(error)
    assert "Invalid object name" in in_short(error)
