"""Cursors that jobs store, also after a rename."""

from targcc_scheduler.services.database import Cursors, Database


async def test_a_renamed_job_goes_on_from_where_it_was(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'cursors.db'}")
    cursors = Cursors(database)
    assert await cursors.get("New", "Old") is None
    await database.run(lambda connection: cursors.save(connection, "Old", "7"))
    assert await cursors.get("New", "Older", "Old") == "7"
    await database.run(lambda connection: cursors.save(connection, "New", "8"))
    assert await cursors.get("New", "Old") == "8"
    database.close()
