"""Loops of features on a node end by themselves, and a node works without any feature."""

import asyncio
import subprocess
import sys

import pytest
from processes import environment
from rt_tools import until
from targcc_scheduler import job
from targcc_scheduler.features.alerts.loops import AlertQueue
from targcc_scheduler.kernel.alert_events import AlertEvents, node_event
from targcc_scheduler.kernel.feature import Loop, parts


@job()
class PlainJob:
    def execute(self) -> None:
        """Do nothing."""


CANCELLED = {"releases", "pruner", "aliases", "slots", "owners", "keepalive", "watchdog", "work"}
"""Tasks of the kernel that a node cancels."""


async def test_all_loops_of_features_end_by_themselves_when_a_node_stops(make_scheduler):
    scheduler = make_scheduler(notify=None)
    await scheduler.start()
    await scheduler.wait(await scheduler.enqueue(PlainJob), 30)
    tasks = {task.get_name().removeprefix("targcc "): task for task in scheduler.node._tasks}
    await scheduler.stop()
    cancelled = {name for name, task in tasks.items() if task.cancelled()}
    assert cancelled <= CANCELLED
    names = {name.rstrip("0123456789 ") for name in tasks}
    assert names >= {part.name for _, part in parts(Loop)}


_WITHOUT_FEATURES = """
import asyncio, sys
from targcc_scheduler import features
features.FEATURES = ()
from targcc_scheduler import Project, Scheduler, Settings, configure, job
configure(Project(name="plain", package="plain"))

tries = []

@job(retries=1, backoff="1s")
class SecondTimeLuckyJob:
    def execute(self) -> None:
        tries.append(1)
        assert len(tries) > 1

@job(retries=0)
class FailsJob:
    def execute(self) -> None:
        raise ValueError("no orders")

async def main():
    scheduler = Scheduler(Settings(database_url=sys.argv[1]), jobs_package="__main__")
    async with scheduler:
        names = SecondTimeLuckyJob, FailsJob
        runs = [await scheduler.enqueue(name) for name in names]
        print(*[str(await scheduler.wait(run, 30)) for run in runs])
        print(*scheduler.node.loops)

asyncio.run(main())
"""


@pytest.mark.usefixtures("processes")
def test_a_node_without_features_runs_retries_and_fails_jobs(migrated_url):
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_FEATURES, migrated_url],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stdout.splitlines(), done.returncode) == (["succeeded failed", ""], 0), done.stderr
    assert "is a fault" not in done.stderr


async def test_an_alert_queue_that_ends_wakes_each_of_its_senders():
    sent = []

    async def send(event):
        sent.append(event.message)

    queue, events = AlertQueue(send, {}), AlertEvents()
    events(node_event("nobody receives events yet", server="web-1"))
    events.receivers.append(queue.put)
    senders = [asyncio.create_task(queue.run()) for _ in range(3)]
    await asyncio.sleep(0)
    events(node_event("the clock was set back", server="web-1"))
    await until(lambda: sent)
    queue.end()
    await asyncio.wait_for(asyncio.gather(*senders), 5)
    events(node_event("a node did not start", server="web-1"))
    await queue.send_rest()
    assert sent == ["the clock was set back", "a node did not start"]
