"""A cursor on the event loop: SQLAlchemy 2.0 awaits the cursor, 2.1 enters it."""

import sqlite3

from targcc_scheduler.db.dialects.sqlite_driver import InlineConnection


async def test_both_releases_of_sqlalchemy_get_a_cursor():
    connection = InlineConnection(sqlite3.connect(":memory:"))
    async with connection.cursor() as entered:
        await entered.execute("SELECT 1")
        assert await entered.fetchall() == [(1,)]
    awaited = await connection.cursor()
    await awaited.execute("SELECT 2")
    assert await awaited.fetchall() == [(2,)]
    await awaited.close()
    await connection.close()
