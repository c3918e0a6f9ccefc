"""Job names that a case-insensitive database takes for the same are refused when a node starts."""

import pytest
from targcc_scheduler import Scheduler, Settings
from targcc_scheduler.core.errors import SchemaError
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.transactions import Store


async def test_a_node_does_not_start_with_names_that_the_database_takes_for_the_same(
    migrated_url, monkeypatch
):
    async def same_names(_connection, names):
        assert names
        return ["Report, report"]

    monkeypatch.setattr(known.for_url(migrated_url), "same_names", same_names)
    scheduler = Scheduler(Settings(_env_file=None, database_url=migrated_url))
    with pytest.raises(
        SchemaError,
        match=r"the same, .*: Report, report\. Rename all but one of them: targcc-gen job",
    ):
        await scheduler.start()
    await scheduler.stop()


@pytest.mark.sqlserver
async def test_the_collation_of_the_database_decides(migrated_mssql_url):
    store = Store(migrated_mssql_url)
    async with store.read() as connection:
        groups = await store.dialect.same_names(connection, ["Report", "report", "Other"])
    await store.dispose()
    assert [set(group.split(", ")) for group in groups] == [{"Report", "report"}]
