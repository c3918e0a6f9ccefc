"""How far PostgreSQL is with an index that another connection builds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import sqlalchemy as sa

_EVERY = 0.5
_PROGRESS = sa.text("""
    SELECT phase, 100 * blocks_done / nullif(blocks_total, 0) FROM pg_stat_progress_create_index
    WHERE datname = current_database() AND pid = :pid
    """)


@contextlib.contextmanager
def told(engine: sa.Engine, builder: sa.Connection, say: Callable[[str], None]) -> Iterator[None]:
    """Say twice a second how far the index is that a connection builds meanwhile, as PostgreSQL puts it: ``building index: 40 %``."""
    pid = builder.scalar(sa.select(sa.func.pg_backend_pid()))
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(engine, pid, over, say), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(
    engine: sa.Engine, pid: int | None, over: threading.Event, say: Callable[[str], None]
) -> None:
    with (
        contextlib.suppress(sa.exc.SQLAlchemyError),  # it is only for people's eyes
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
    ):
        while not over.wait(_EVERY):
            for phase, share in connection.execute(_PROGRESS, {"pid": pid}):
                say(phase if share is None else f"{phase}: {share} %")
