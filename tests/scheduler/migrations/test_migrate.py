"""Bringing a PostgreSQL database up to date: the tables, and Procrastinate's."""

import asyncio
from importlib import metadata

import sqlalchemy as sa
from targcc_scheduler import migrate
from targcc_scheduler.db.dialects.postgresql import LOCK_KEY
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.migrations.upgrade import head_revision

COMMENT = "SELECT obj_description('procrastinate_jobs'::regclass)"


async def test_a_start_on_a_current_database_waits_for_nobody(migrated_postgresql_url):
    with sync_engine(migrated_postgresql_url) as engine, engine.connect() as another:
        another.execute(sa.select(sa.func.pg_advisory_lock(LOCK_KEY)))
        try:
            async with asyncio.timeout(20):
                version = await asyncio.to_thread(migrate, migrated_postgresql_url)
        finally:
            another.execute(sa.select(sa.func.pg_advisory_unlock(LOCK_KEY)))
    assert version == head_revision()


def test_tables_of_an_older_procrastinate_are_brought_up_to_the_library(migrated_postgresql_url):
    with sync_engine(migrated_postgresql_url) as engine:
        with engine.begin() as connection:
            older = "COMMENT ON TABLE procrastinate_jobs IS 'procrastinate 3.4.0'"
            connection.execute(sa.text(older))
        migrate(migrated_postgresql_url)
        with engine.connect() as connection:
            comment = connection.execute(sa.text(COMMENT)).scalar_one()
    assert comment == f"procrastinate {metadata.version('procrastinate')}"
