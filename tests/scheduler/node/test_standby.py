"""One node at a time is active on SQL Server; a standby takes over. Real processes, a real server that speaks T-SQL."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, Node

pytestmark = pytest.mark.sqlserver  # TARGCC_TEST_SQL_SERVER names a server
TAKES_OVER = 30
"""Limit of the seconds until a standby performs runs."""
CALM = {"HEARTBEAT_SECONDS": 5, "LOST_AFTER_SECONDS": 15}
"""Settings of the nodes: a session's first statements take a while on Babelfish."""


@pytest.fixture
def cluster(migrated_mssql_url: str, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without nodes."""
    made = Cluster(migrated_mssql_url, tmp_path)
    yield made
    made.close()


def performed(cluster: Cluster, by: Node | None = None) -> list[int]:
    """Return the numbers of the runs that a node has performed, sorted."""
    return sorted(int(number) for number, _ in cluster.noted("noted", by=by))


async def active_and_standby(cluster: Cluster) -> tuple[Node, Node]:
    """Start two nodes, the second once the first is active."""
    active = cluster.start(**CALM)
    await cluster.until(lambda: "is active now" in active.said(), "it is active", 120)
    standby = cluster.start(**CALM)
    await cluster.until(
        lambda: cluster.noted("node", "ready", by=standby), "the standby waits", 120
    )
    return active, standby


@pytest.mark.parametrize("end", [Node.kill, Node.terminate], ids=["killed", "drained"])
async def test_a_standby_takes_over_and_no_run_is_lost(cluster, client, end):
    active, standby = await active_and_standby(cluster)
    for number in range(5):
        await client.enqueue("Noted", number)
    await cluster.until(lambda: len(performed(cluster)) == 5, "the active node performs", 120)
    assert performed(cluster, by=standby) == []
    end(active)
    for number in range(5, 10):
        await client.enqueue("Noted", number)
    await cluster.until(
        lambda: set(performed(cluster, by=standby)) >= set(range(5, 10)),
        "the standby performs",
        TAKES_OVER,
    )


async def test_the_run_of_a_killed_node_goes_on_at_the_standby(cluster, client):
    active, standby = await active_and_standby(cluster)
    run_id = await client.enqueue("UntilOpened")
    await cluster.until(lambda: cluster.noted("until_opened", "begin", run_id), "it begins", 120)
    active.kill()
    cluster.open()
    await cluster.until(
        lambda: cluster.noted("until_opened", "end", run_id, by=standby), "it goes on", TAKES_OVER
    )


async def test_a_standby_takes_over_from_a_frozen_node_whose_session_lives_on(cluster, client):
    active, standby = await active_and_standby(cluster)
    await client.enqueue("Noted", 0)
    await cluster.until(lambda: performed(cluster, by=active) == [0], "it performs", 120)
    await cluster.until(lambda: cluster.states() == {"succeeded": 1}, "its run has ended", 60)
    active.process.send_signal(signal.SIGSTOP)
    await client.enqueue("Noted", 1)
    await cluster.until(
        lambda: performed(cluster, by=standby) == [1], "the standby performs", 15 + TAKES_OVER
    )
    active.process.send_signal(signal.SIGCONT)
    await client.enqueue("Noted", 2)
    await cluster.until(lambda: len(performed(cluster)) == 3, "one of them performs", TAKES_OVER)
    assert performed(cluster, by=standby) == [1, 2]


@pytest.mark.soak
async def test_an_active_node_that_is_killed_twenty_times_loses_nothing(cluster, client):
    active, standby = await active_and_standby(cluster)
    numbers: list[int] = []
    for turn in range(20):
        for number in range(turn * 5, turn * 5 + 5):
            await client.enqueue("Noted", number)
            numbers.append(number)
        active.kill()
        active, standby = standby, cluster.start(**CALM)
        await cluster.until(lambda: set(performed(cluster)) == set(numbers), f"turn {turn}", 120)
    await cluster.until(lambda: set(cluster.states()) == {"succeeded"}, "all have ended", 60)
    assert cluster.states() == {"succeeded": len(numbers)}
    await cluster.ready(standby)
