"""Statements and errors of SQL Server's driver, without a server."""

import asyncio
import gc
import threading
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import DBAPIError
from targcc_scheduler.core.outage import is_held_up, is_undone
from targcc_scheduler.db.dialects import mssql_driver
from targcc_scheduler.db.dialects.mssql_driver import ThreadedConnection, Threads, _typed


def test_a_missing_value_is_written_into_the_statement():
    operation, parameters = _typed("SET a = %(a)s, b = %(b)s", {"a": None, "b": 1})
    assert operation == "SET a = CAST(NULL AS nvarchar(4000)), b = %(b)s"
    assert parameters == {"b": 1}


def test_a_statement_keeps_below_the_servers_limit_of_parameters():
    values = {f"v{n}": n for n in range(1500)} | {f"t{n}": "it's 5%" for n in range(1500)}
    operation = ", ".join(f"%({name})s" for name in values)
    text, parameters = _typed(operation, values)
    assert len(parameters) == text.count("%(") == 2000
    assert text.startswith("0, 1, 2, ")
    values = {f"t{n}": "it's 5%" for n in range(2001)}
    text, _ = _typed(", ".join(f"%({name})s" for name in values), values)
    assert text.startswith("N'it''s 5%%', %(t1)s")


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**23])
def test_a_number_that_no_column_can_hold_is_an_overflow_as_on_other_databases(number):
    with pytest.raises(OverflowError, match="more than 64 bits"):
        _typed("SELECT %(a)s", {"a": number})


class Driver:
    """A connection whose statements fail with a number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.executed: list[str] = []

    def cursor(self) -> "Driver":
        return self

    def execute(self, operation: str, *_: object) -> None:
        self.executed.append(operation)
        if operation == "CHANGE":
            raise RuntimeError("in the language of the login")

    def fetchone(self) -> tuple[int]:
        return (self.number,)

    def commit(self) -> None:
        self.executed.append("COMMIT")

    autocommit, description, rowcount = False, None, 1

    def nextset(self) -> bool:
        return False

    def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("number", "undone", "held_up"),
    [
        (1205, True, False),
        (3960, True, False),
        (2601, True, False),
        (2627, True, False),
        (1222, False, True),
        (547, False, False),
    ],
)
async def test_an_error_is_known_by_its_number(number, undone, held_up):
    threads = Threads(1)
    cursor = ThreadedConnection(Driver(number), threads).cursor()
    with pytest.raises(RuntimeError) as raised:
        await cursor.execute("CHANGE")
    threads.close()
    error = DBAPIError("CHANGE", None, raised.value)
    assert (is_undone(error), is_held_up(error)) == (undone, held_up)


async def test_a_limit_of_lock_waits_ends_with_its_transaction():
    threads, driver = Threads(1), Driver(0)
    connection = ThreadedConnection(driver, threads)
    await connection.cursor().execute("SET LOCK_TIMEOUT 100")
    await connection.commit()
    await connection.commit()
    threads.close()
    assert driver.executed == ["SET LOCK_TIMEOUT 100", "COMMIT", "SET LOCK_TIMEOUT -1", "COMMIT"]


async def test_a_cancelled_statement_is_stopped_on_the_server_and_its_end_awaited():
    threads, stopped = Threads(1), []
    begun, loop = asyncio.Event(), asyncio.get_running_loop()
    may_end = SimpleNamespace(it=False)

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        while not may_end.it:
            pass

    def stop() -> None:
        may_end.it = True
        stopped.append(True)

    task = asyncio.create_task(threads.run(work, stop=stop))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    threads.close()
    assert stopped == [True]


class Busy(Driver):
    """A connection with a statement that goes on until it is told to end."""

    def __init__(self) -> None:
        super().__init__(0)
        self.begun, self.may_end, self.closed = (threading.Event() for _ in range(3))
        self.within = 0
        self.most = 0

    def _call(self, name: str) -> None:
        self.within += 1
        self.most = max(self.most, self.within)
        if name == "LONG":
            self.begun.set()
            assert self.may_end.wait(30)
        self.executed.append(name)
        self.within -= 1

    def execute(self, operation: str, *_: object) -> None:
        self._call(operation)

    def close(self) -> None:
        self._call("CLOSE")
        self.closed.set()


async def test_a_connection_is_closed_after_the_call_that_goes_on():
    threads, driver = Threads(2), Busy()
    connection = ThreadedConnection(driver, threads)
    cursor = connection.cursor()
    asking = asyncio.create_task(cursor.execute("LONG"))
    await asyncio.to_thread(driver.begun.wait, 30)
    closing = asyncio.create_task(connection.close())
    await asyncio.wait({closing}, timeout=0.1)
    driver.may_end.set()
    await asyncio.gather(asking, closing)
    threads.close()
    assert (driver.executed, driver.most) == (["LONG", "CLOSE"], 1)


async def test_a_call_that_is_cancelled_again_is_awaited_all_the_same():
    threads, driver = Threads(2), Busy()
    asking = asyncio.create_task(ThreadedConnection(driver, threads).cursor().execute("LONG"))
    await asyncio.to_thread(driver.begun.wait, 30)
    for _ in range(3):
        asking.cancel()
        await asyncio.wait({asking}, timeout=0.02)
        assert not asking.done()
    driver.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    threads.close()
    assert driver.executed == ["LONG"]


async def test_the_loop_goes_on_while_the_driver_waits_to_stop_a_statement():
    threads, driver = Threads(1), Busy()
    loop, stops = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        loop.call_soon_threadsafe(stops.set)
        assert driver.may_end.wait(30)

    asking = asyncio.create_task(threads.run(driver.execute, "LONG", stop=stop))
    await asyncio.to_thread(driver.begun.wait, 30)
    asking.cancel()
    await stops.wait()
    driver.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    threads.close()
    assert driver.executed == ["LONG"]


async def test_the_error_of_a_cancelled_statement_is_no_message_of_the_loop():
    threads, driver, said = Threads(1), Busy(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))

    def fail() -> None:
        driver.execute("LONG")
        raise RuntimeError("Operation canceled")

    asking = asyncio.create_task(threads.run(fail, stop=driver.may_end.set))
    await asyncio.to_thread(driver.begun.wait, 30)
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled()
    threads.close()
    del asking
    gc.collect()
    assert said == []


async def test_a_call_that_does_not_stop_holds_up_nobody_else(monkeypatch):
    monkeypatch.setattr(mssql_driver, "_LEAVE_SECONDS", 0.05)
    threads, hung, well = Threads(1), Busy(), Driver(0)
    connection = ThreadedConnection(hung, threads)
    asking = asyncio.create_task(connection.cursor().execute("LONG"))
    await asyncio.to_thread(hung.begun.wait, 30)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    with pytest.raises(OSError, match="not stopped in time"):
        await connection.rollback()
    await connection.close()
    await ThreadedConnection(well, threads).cursor().execute("SELECT 1")
    assert (well.executed, hung.executed) == (["SELECT 1"], [])
    hung.may_end.set()
    await asyncio.to_thread(hung.closed.wait, 30)
    threads.close()
    assert hung.executed == ["LONG", "CLOSE"]
