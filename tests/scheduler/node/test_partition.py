"""A node whose database connection is cut, while other nodes keep theirs."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from guarantee_rig import Ledger, Node, schedulers, until
from targcc_scheduler import RunState

SOCKET = ".s.PGSQL.5432"


class Link:
    """Proxy between a node and PostgreSQL that can be cut: packets vanish without an error."""

    def __init__(self, folder: Path, server: Path) -> None:
        self.folder = folder
        self._server = server
        self._open = asyncio.Event()
        self._open.set()
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._connect, self.folder / SOCKET)

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    async def close(self) -> None:
        self.mend()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(
            *(writer.wait_closed() for writer in self._writers), return_exceptions=True
        )

    async def _connect(self, reader, writer) -> None:
        await self._open.wait()
        upstream, back = await asyncio.open_unix_connection(self._server / SOCKET)
        self._writers += [writer, back]
        await asyncio.gather(self._pass(reader, back), self._pass(upstream, writer))

    async def _pass(self, source, target) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._open.wait()
                target.write(data)
                await target.drain()
        target.close()


@pytest.fixture
async def link(migrated_postgresql_url, tmp_path) -> AsyncIterator[Link]:
    folder = tmp_path / "link"
    folder.mkdir()
    made = Link(folder, Path(str(sa.make_url(migrated_postgresql_url).query["host"])))
    server = await made.serve()
    yield made
    await made.close()
    server.close()


async def test_a_node_that_is_cut_off_gives_its_run_up_and_its_outcome_is_not_counted(
    migrated_postgresql_url, link, tmp_path
):
    url = migrated_postgresql_url
    behind = sa.make_url(url).update_query_dict({"host": str(link.folder)})
    ledger = Ledger(url)
    nodes: list[Node] = []
    try:
        async with schedulers(url, "rig_jobs.jobs") as make:
            client = make()
            nodes.append(Node(behind.render_as_string(hide_password=False), tmp_path))
            run_id = await client.enqueue("UntilOpened")
            await until(lambda: nodes[0].noted("until_opened begin"), "it has begun", 40)
            nodes.append(Node(url, tmp_path))
            await until(nodes[1].is_ready, "the other is ready", 40)
            link.cut()
            await until(lambda: nodes[1].noted(f"until_opened begin {run_id} 2"), "it is taken", 30)
            nodes[1].open()
            assert await client.wait(run_id, 40) == RunState.SUCCEEDED
            link.mend()
            await until(lambda: "was declared lost" in nodes[0].said(), "it finds out", 40)
        attempts = ledger.attempts(run_id)
        assert [attempt.Success for attempt in attempts] == [False, True]
        assert attempts[1].ResultMessage == "attempt 2"
        ledger.assert_sound()
    finally:
        for node in nodes:
            node.process.send_signal(signal.SIGCONT)
            node.end()
