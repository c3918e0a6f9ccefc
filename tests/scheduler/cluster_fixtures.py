"""Cluster fixtures for the tests on PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from targcc_scheduler import Scheduler, Settings


@pytest.fixture
def cluster(migrated_postgresql_url: str, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without nodes."""
    cluster = Cluster(migrated_postgresql_url, tmp_path)
    yield cluster
    cluster.close()


@pytest.fixture
def empty_cluster(postgresql_url: str, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without nodes on a database without tables."""
    cluster = Cluster(postgresql_url, tmp_path)
    yield cluster
    cluster.close()


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Scheduler]:
    """A scheduler that only creates runs."""
    settings = Settings(_env_file=None, database_url=cluster.url, migrate_on_start=False)
    scheduler = Scheduler(settings)
    await scheduler.start(work=False, schedule=False)
    yield scheduler
    await scheduler.stop()
