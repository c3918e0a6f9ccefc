"""A storm from its first node to its verdict."""

from __future__ import annotations

import json
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import postgresql

from storms import databases, faults, releases
from storms.backlog import Backlog
from storms.checker import Limits, Verdict, check, keep_tables, load, unfinished
from storms.faults import Fault
from storms.nodes import Process, Processes
from storms.plan import StormPlan
from storms.record import JOBS, SUBMITTED

_COMMAND_SECONDS, _AGAIN_SECONDS, _RESUMED = 20.0, 2.0, 30
"""Time limit of a command, delay before a retry, and number of retries at the end."""
_STOPPING = 20.0
"""Seconds after which a node that does not stop is killed."""
_PATIENCE, _LONGEST_CALM = 60.0, 900.0
"""Seconds without progress, and at most, until the final wait ends."""
_NEEDS_NODE = frozenset({"kill", "worker", "stop", "term", "deploy", "net", "clock"})
_NOT_DURING = {
    "pg": frozenset({"database", "disk"}),  # PostgreSQL does not recover on a full disk
    "disk": frozenset({"database", "disk"}),
    "clock": frozenset({"clock"}),
    "net": frozenset({"cut"}),
    "stop": frozenset({"stop", "database"}),
    "pause": frozenset({"pause", "database", "disk"}),
}
"""Faults that must have healed before another fault begins."""
_DONE = '"message"'
"""Text in the output of a command that was executed."""
_FEWEST_KILLS = 2
_LEAST_OF_PEOPLE = 20.0
"""Seconds for which the processes of people work before one of them is killed."""
_SUBMITTERS = 2


class Storm:
    """Nodes, submitters, a database, and faults.

    Args:
        plan: The plan of the storm.
        folder: The folder for all output.
        database: The database of the tables.
    """

    def __init__(self, plan: StormPlan, folder: Path, database: databases.StormDatabase) -> None:
        self.plan = plan
        self.database = database
        self.dice = random.Random(plan.seed)
        self.release = 1
        self.kills = 0
        self.nodes: list[Process] = []
        self.active: list[Fault] = []
        self._folder = folder
        self._submitters: list[Process] = []
        self._people: dict[str, Process] = {}
        self._port, self._token = 0, ""
        self._deck: list[str] = []
        for number in range(1, releases.NEWEST + 1):
            releases.write(folder / f"release{number}", number)
        self.processes = Processes(folder, self._environment())

    def run(self) -> Verdict:
        """Run the storm, wait until all work is done, and judge."""
        try:
            self._begin()
            self._rage()
            self._calm()
        finally:
            self.processes.close()
        keep_tables(self._folder, self.database.url)
        return judge(self._folder, self.plan)

    def ready_nodes(self) -> list[Process]:
        """Return the working nodes that are not frozen."""
        self.processes.look()
        return [node for node in self.nodes if node.was_ready and node.is_up and not node.frozen]

    def how_long(self) -> float:
        """Return the duration of a fault: mostly short, sometimes long enough to lose a node."""
        longest = self.plan.longest_outage
        return self.dice.uniform(0.2, self.dice.choice((min(2, longest), longest)))

    def how_long_frozen(self) -> float:
        """Return the duration of a freeze: a moment, about the time that makes a node lost, or up to the longest time."""
        longest = self.plan.longest_stop
        upper = self.dice.choice((2, 2 * self.plan.lost_after, longest))
        return self.dice.uniform(0.2, min(upper, longest))

    def begin(
        self, kind: str, nodes: list[Process], seconds: float, heal: Callable[[], None]
    ) -> None:
        """Record the start of a fault and remember its healing."""
        names = [node.name for node in nodes]
        self.processes.say("fault", kind=kind, nodes=names, seconds=seconds)
        self.active.append(Fault(kind, nodes, time.monotonic() + seconds, heal))

    def pause(self, queue: str, seconds: float) -> None:
        """Pause a queue and remember to resume it, also when the outcome of the command is unknown."""
        self.processes.say("pausing", queue=queue)
        if self._command("queue", "pause", queue, "--json"):
            self.processes.say("paused", queue=queue)
        self.begin("pause", [], seconds, lambda: self._resume(queue))

    def _resume(self, queue: str) -> None:
        """Resume a queue, now or later."""
        self.processes.say("resuming", queue=queue)
        if self._command("queue", "resume", queue, "--json"):
            self.processes.say("resumed", queue=queue)
        else:
            self.begin("pause", [], _AGAIN_SECONDS, lambda: self._resume(queue))

    def _command(self, *words: str) -> bool:
        """Run a command in a separate process; return whether its output confirms the execution."""
        return _DONE in self._said(*words)

    def _said(self, *words: str) -> str:
        """Run a command in a separate process; return its output."""
        url = self.database.url
        process = self.processes.start(
            "command", self.release, list(words), TARGCC_DATABASE_URL=url
        )
        if not process.wait(_COMMAND_SECONDS):
            process.send(signal.SIGKILL)
            process.wait(10)
        self.processes.ended(process)
        return process.said()

    def replace(self, node: Process, release: int) -> None:
        """Start a node in place of a node that has ended."""
        self.nodes.remove(node)
        self._add(release)

    def stop_in_order(self, node: Process) -> None:
        """Send SIGTERM, like a deploy."""
        self.processes.terminate(node, self.plan.grace + _STOPPING)

    def next_release(self) -> bool:
        """Begin the deploy of the next release; return whether there is one."""
        if self.release == releases.NEWEST:
            return False
        self.release += 1
        self.processes.say("release", release=self.release)
        return True

    def submit_as(self, release: int) -> None:
        """Replace the submitters by submitters of this release, if needed."""
        if any(submitter.release == release for submitter in self._submitters):
            return
        self._end_submitters()
        for _ in range(_SUBMITTERS):
            self._submit(release)

    def kill_submitter(self) -> None:
        """Kill a submitter at any point of its work and start it again."""
        victim = self.dice.choice(self._submitters)
        self._submitters.remove(victim)
        self.processes.say("fault", kind="application", node=victim.name)
        victim.send(signal.SIGKILL)
        victim.wait(10)
        self.processes.ended(victim)
        self._submit(victim.release)

    def kill_people(self) -> None:
        """Kill the people's web server or the program that acts for them, and start it again; leave both alone until they have worked for a while."""
        youngest = max(process.process.create_time() for process in self._people.values())
        if time.time() - youngest < _LEAST_OF_PEOPLE:
            return
        role = self.dice.choice(sorted(self._people))
        victim = self._people.pop(role)
        self.processes.say("fault", kind="application", node=victim.name)
        victim.send(signal.SIGKILL)
        victim.wait(10)
        self.processes.ended(victim)
        self._add_people()

    def _add_people(self) -> None:
        """Start the web server and the program that acts for people, if it is not there."""
        same = {"TARGCC_DATABASE_URL": self.database.url}
        if "web" not in self._people:
            words = ["serve", "--no-worker", "--port", str(self._port)]
            self._people["web"] = self.processes.start("web", self.release, words, **same)
        if "person" not in self._people:
            name = self.processes.next_name("person")
            self._people["person"] = self.processes.act(
                self.release,
                STORM_SEED=f"{self.plan.seed}/{name}",
                STORM_RATE=str(self.plan.rate),
                STORM_TOKEN=self._token,
                STORM_PORT=str(self._port),
                **same,
            )

    def _submit(self, release: int) -> None:
        name = self.processes.next_name("submitter")
        submitter = self.processes.submit(
            release,
            TARGCC_DATABASE_URL=self.database.url,
            STORM_SEED=f"{self.plan.seed}/{release}/{name}",
            STORM_RATE=str(self.plan.rate / _SUBMITTERS),
            STORM_WEIGHTS=json.dumps(dict(self.plan.weights)),
            **self._clock_environment(self._folder / "clock.rc"),
        )
        self._submitters.append(submitter)

    def _end_submitters(self) -> None:
        while self._submitters:
            self.processes.terminate(self._submitters.pop(), 35)

    def clock_file(self, node: Process) -> Path:
        """Return the file with a node's clock error; all nodes share a file on SQLite."""
        shared = self.plan.database == "sqlite"
        return self._folder / ("clock.rc" if shared else f"{node.name}.rc")

    def _begin(self) -> None:
        self.processes.say("begin", seed=self.plan.seed, order=self.plan.order)
        first = self.processes.start(
            "migrate", 1, ["migrate"], TARGCC_DATABASE_URL=self.database.url
        )
        if not first.wait(60):
            raise RuntimeError(first.said())
        self.processes.ended(first)
        for _ in range(self.plan.nodes):
            self._add(1)
        self._until(lambda: len(self.ready_nodes()) == self.plan.nodes, 60, "the nodes start")
        self.submit_as(1)
        if "people" in self.plan.faults:
            create = ["token", "create", "people", "--role", "admin", "--quiet"]
            self._token = self._said(*create).split()[-1]
            self._port = _free_port()
            self._add_people()

    def _rage(self) -> None:
        end = time.monotonic() + self.plan.minutes * 60
        while self.kills < self.plan.kills and time.monotonic() < end:
            self._pause(self.dice.uniform(0.1, self.plan.pace))
            kind = self._choose()
            if kind in _NEEDS_NODE:
                self._until(lambda: self.ready_nodes() or self.active, 60, "a node is ready")
                if not self.ready_nodes():
                    continue
            if not _NOT_DURING.get(kind, frozenset()) & {fault.kind for fault in self.active}:
                faults.INFLICT[kind](self)

    def _choose(self) -> str:
        """Return the next fault: each kind occurs once before any repeats, and at least half are kills."""
        if not self._deck:
            others = sorted(self.plan.faults - {"kill"})
            self._deck = others + ["kill"] * max(_FEWEST_KILLS, len(others))
            self.dice.shuffle(self._deck)
        return self._deck.pop()

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self._tend(now)
            time.sleep(0.05)

    def _tend(self, now: float) -> None:
        """Heal expired faults, and replace nodes that have ended by themselves."""
        for fault in [item for item in self.active if item.until <= now]:
            self._heal(fault)
        self.processes.look()
        for node in [item for item in self.nodes if not item.is_up]:
            self.processes.say("died", node=node.name)
            self.processes.ended(node)
            self.replace(node, node.release)
        for role in [role for role, process in self._people.items() if not process.is_up]:
            self.processes.ended(self._people.pop(role))
            self._add_people()

    def _heal(self, fault: Fault) -> None:
        self.active.remove(fault)
        fault.heal()
        self.processes.say("healed", kind=fault.kind, nodes=[node.name for node in fault.nodes])

    def _calm(self) -> None:
        """Heal every fault, start a node for every release with work, and wait until all work is done."""
        for _ in range(_RESUMED):
            for fault in sorted(self.active, key=lambda fault: fault.kind == "pause"):
                self._heal(fault)
        self._end_submitters()
        for role in sorted(self._people):
            self.processes.terminate(self._people.pop(role), 35)
        for release in set(range(1, self.release + 1)) - {node.release for node in self.nodes}:
            self._add(release)
        self.processes.say("calm")
        backlog = self._wait_for_work()
        self.processes.say("quiet", left=len(backlog.left), stands=backlog.stands)
        for node in self.nodes:
            self.processes.look()
            self.stop_in_order(node)

    def _wait_for_work(self) -> Backlog:
        """Wait for the requested work while it makes progress: a busy machine leaves much for the end."""
        patience = self.plan.lost_after + _PATIENCE
        backlog = Backlog(patience, _LONGEST_CALM, time.monotonic())
        while backlog.look(unfinished(self._folder, self.database.url), time.monotonic()):
            self._pause(0.3)
        return backlog

    def _add(self, release: int) -> None:
        cable = self.database.cable()
        shared = self.plan.database == "sqlite"
        clock = self._folder / ("clock.rc" if shared else f"{self.processes.next_name('node')}.rc")
        node = self.processes.start(
            "node",
            release,
            ["worker"],
            cable=cable,
            TARGCC_DATABASE_URL=self.database.url_through(cable),
            TARGCC_RELEASE=f"release-{release}",
            **self._clock_environment(clock),
        )
        self.nodes.append(node)

    def _clock_environment(self, file: Path) -> dict[str, str]:
        """Return variables that make a process read its clock error from a file; the library caches the value for a second."""
        if "clock" not in self.plan.faults:
            return {}
        if not file.exists():
            file.write_text("+0\n", encoding="ascii")
        return {"FAKETIME_TIMESTAMP_FILE": str(file)}

    def _environment(self) -> dict[str, str]:
        plan = self.plan
        return {
            "TARGCC_HEARTBEAT_SECONDS": str(plan.heartbeat),
            "TARGCC_LOST_AFTER_SECONDS": str(plan.lost_after),
            "TARGCC_SHUTDOWN_GRACE": str(plan.grace),
            "TARGCC_CANCEL_GRACE": str(plan.grace / 2),
            "TARGCC_POLL_SECONDS": "0.5",
            "TARGCC_MIGRATE_ON_START": "false",
            "TARGCC_KEEPALIVE": "true",
            "STORM_ISOLATION": plan.isolation,
            "STORM_ORDER": plan.order,
            "STORM_RECORD": str(self._folder / JOBS),
            "STORM_SUBMITTED": str(self._folder / SUBMITTED),
            **self._wrong_clocks(),
        }

    def _wrong_clocks(self) -> dict[str, str]:
        """Return variables that preload the clock library into the zygote, whose clock stays right, and into all its forks."""
        if "clock" not in self.plan.faults:
            return {}
        return {
            "LD_PRELOAD": str(faketime()),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": "1",
            **self._clock_environment(self._folder / "right.rc"),
        }

    def _until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                output = "\n".join(f"--- {node.name}\n{node.said()[-2000:]}" for node in self.nodes)
                raise RuntimeError(f"{what}: not within {seconds:g} s\n{output}")
            self._tend(time.monotonic())
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def judge(folder: Path, plan: StormPlan) -> Verdict:
    """Judge the evidence in a storm's folder."""
    limits = Limits(
        heartbeat=plan.heartbeat,
        lost_after=plan.lost_after,
        margin=plan.margin,
        one_clock=plan.database == "sqlite",
    )
    return check(load(folder, limits))


def faketime() -> Path:
    """Return the library that sets the clock of a process.

    Raises:
        FileNotFoundError: The library is not installed.
    """
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        raise FileNotFoundError("the fault clock needs libfaketime: apt-get install faketime")
    return libraries[0]


@contextmanager
def database_of(
    plan: StormPlan, folder: Path, server: postgresql.PostgreSQL | None = None
) -> Iterator[databases.StormDatabase]:
    """Yield the database of a plan; ``server`` provides PostgreSQL."""
    with ExitStack() as stack:
        if plan.database == "sqlite":
            yield stack.enter_context(databases.sqlite_file(folder, plan.faults))
        else:
            yield stack.enter_context(databases.postgresql_server(plan.faults, server))


def run(plan: StormPlan, folder: Path, server: postgresql.PostgreSQL | None = None) -> Verdict:
    """Run a storm in an existing empty folder."""
    with database_of(plan, folder, server) as database:
        return Storm(plan, folder, database).run()
