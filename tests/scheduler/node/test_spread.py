"""The load of a node on the database falls with the number of nodes."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from targcc_scheduler.kernel.poller import Poller, spread


@pytest.mark.parametrize(
    ("nodes", "interval"), [(0, 2), (1, 2), (5, 2), (10, 4), (24, 9.6), (50, 10), (500, 10)]
)
def test_an_interval_grows_with_the_nodes_up_to_its_longest(nodes, interval):
    assert spread(2, nodes, longest=10) == pytest.approx(interval)


def test_an_interval_that_is_longer_than_the_longest_stays():
    assert spread(30, 50, longest=4) == 30


def test_a_hurried_poll_stays_hurried_with_many_nodes():
    assert spread(0, 500, longest=10) == 0


async def test_a_poll_with_many_nodes_waits_longer():
    """Fifty idle nodes poll a database as often as twenty-five would."""
    seen = SimpleNamespace(beats=("beat",) * 50)
    begun = []

    @asynccontextmanager
    async def read():
        begun.append(asyncio.get_running_loop().time())
        yield "connection"

    poller = Poller(read)
    with pytest.MonkeyPatch.context() as patch:

        async def see(connection):
            assert connection == "connection"
            return seen

        patch.setattr("targcc_scheduler.kernel.poller.see", see)
        assert poller.spread(1.5, 3) == 1.5
        await poller.next(0)
        assert poller.spread(1.5, 3) == 3
        assert poller.spread(2, 20 / 5) == 4
        waiting = asyncio.create_task(poller.next(1.5))
        await asyncio.sleep(0)
        assert poller._timer.when() - asyncio.get_running_loop().time() > 2.5
        poller.hurry()  # a hurried poll does not wait
        assert await waiting is seen
        await poller.close()
