"""The feature notes keeps the contract of features, and its entries can be read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine
from targcc_scheduler.testing import check_feature

from golden_jobs.features.notes import model
from golden_jobs.features.notes.feature import FEATURE

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


def test_the_feature_keeps_the_contract() -> None:
    check_feature(FEATURE)


async def test_an_entry_is_said_until_its_time_is_over(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
    async with engine.begin() as connection:
        await connection.run_sync(model.entry.metadata.create_all)
        until = NOW + timedelta(days=1)
        await model.add(
            connection, job="Sales", text="half day", author="dana", now=NOW, until=until
        )
        assert await model.reasons(connection, "Sales", None, NOW) == ["dana says: half day"]

        await model.remove_expired(connection, until)

        assert await model.reasons(connection, "Sales", None, NOW) == []
    await engine.dispose()
