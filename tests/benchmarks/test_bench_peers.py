"""Generated projects compared with Procrastinate, Huey and Celery in the same run; run with `-m benchmark -n0 -s`.

Each system has a client and a worker in separate processes; the job is the same and records its start. Assertions hold with a margin
on a busy machine; other figures are printed beside their aims. `tests/benchmarks/README.md` has the results.
"""

from __future__ import annotations

import asyncio
import pstats
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from operator import truediv
from pathlib import Path
from statistics import median, quantiles

import peer_notes
import peer_procrastinate
import peer_targcc
import postgresql
import pytest
import sqlalchemy as sa
from bench_results import IDLE, OURS_LITE, OURS_PG, WAITS, measured
from bench_results import RUNS as RUNS_TOPIC
from peer_rig import HOUR, Peer, Worker, redis_commands, redis_server, working
from targcc_scheduler import migrate
from targcc_scheduler.kernel.engine.sqlite import _GLANCE_SECONDS

pytestmark = pytest.mark.benchmark

RUNS, ROUNDS = 1000, 3
SCHEDULES = 1000
RAW, HUEY, CELERY = "Procrastinate, PostgreSQL", "Huey, SQLite", "Celery, Redis"


def report(line: str) -> None:
    print(f"\n{line}", end="")  # noqa: T201 - what the benchmark is for


def aim(what: str, value: float, limit: float, unit: str, *, most: bool) -> None:
    """Print a number beside its upper or lower aim."""
    met = value <= limit if most else value >= limit
    verdict = "met" if met else f"MISSED by {abs(value - limit) / limit:.0%}"
    bound = "at most" if most else "at least"
    report(f"  aim: {what} {bound} {limit:g} {unit}: {value:.3g} {unit}, {verdict}")


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        pytest.fail("install redis-server: Celery is measured on it")
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
async def peers(
    tmp_path: Path, postgresql_server: postgresql.PostgreSQL, redis_url: str
) -> list[Peer]:
    """Return each system on a new database with its tables."""
    ours_pg, raw = (postgresql_server.url(postgresql_server.create()) for _ in range(2))
    ours_lite = f"sqlite:///{tmp_path / 'ours.db'}"
    migrate(ours_pg)
    migrate(ours_lite)
    await peer_procrastinate.install(raw)
    lite = peer_notes.sqlite_statements
    return [
        Peer(OURS_PG, "peer_targcc", ours_pg, _statements_of(postgresql_server, ours_pg)),
        Peer(RAW, "peer_procrastinate", raw, _statements_of(postgresql_server, raw)),
        Peer(OURS_LITE, "peer_targcc", ours_lite, lite),
        Peer(HUEY, "peer_huey", str(tmp_path / "huey.db"), lite),
        Peer(CELERY, "peer_celery", redis_url, lambda _: redis_commands(redis_url)),
    ]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write ``peer_jobs`` with one job; return its folder."""
    folder = tmp_path / "jobs"
    peer_targcc.write_jobs(folder, 0, HOUR)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def _execute(url: str, *statements: str) -> None:
    engine = sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        poolclass=sa.NullPool,
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def _statements_of(server: postgresql.PostgreSQL, url: str) -> Callable[[Path], int]:
    """Return a function that counts the statements in the server's log; requires an earlier call of ``_log_statements``."""
    start = f"{sa.make_url(url).database} LOG:  ".encode()

    def count(_: Path) -> int:
        lines = Path(server._server.log).read_bytes().splitlines()
        return sum(line.startswith((start + b"statement", start + b"execute")) for line in lines)

    return count


def _log_statements(url: str) -> None:
    _execute(
        url,
        "ALTER SYSTEM SET log_line_prefix = '%d '",
        "SELECT pg_reload_conf()",
        f"ALTER DATABASE {sa.make_url(url).database} SET log_statement = 'all'",
    )


# Runs per second.


async def _fill(peer: Peer, count: int) -> float:
    """Create runs one by one; return the rate per second."""
    async with peer.connected() as send:
        started = time.perf_counter()
        for _ in range(count):
            await send(time.time())
        rate = count / (time.perf_counter() - started)
    if peer.url.startswith("postgresql"):
        _execute(peer.url, "ANALYZE")  # a new table has no statistics, so all plans are bad
    return rate


async def _drain(
    peer: Peer, folder: Path, jobs: Path, count: int, variables: Mapping[str, str] | None = None
) -> tuple[float, float]:
    """Let a worker execute the waiting runs; return runs per second and processor milliseconds per run.

    The rate counts from the first start to the last.
    """
    with working(peer, folder, jobs, variables) as worker:
        begun = len(await worker.until_noted(1))
        used = worker.cpu_seconds()
        noted = await worker.until_noted(count)
        cost = (worker.cpu_seconds() - used) / max(count - begun, 1) * 1000
        await _until_settled(peer)
    return (count - 1) / (noted[-1][1] - noted[0][1]), cost


async def _until_settled(peer: Peer) -> None:
    """Wait until our runs are settled: a worker stopped earlier would hand them back."""
    if peer.module == "peer_targcc":
        deadline = time.monotonic() + 20
        while _count(peer.url, "c_JobRun WHERE State <> 'succeeded'"):
            assert time.monotonic() < deadline, "runs are not settled"
            await asyncio.sleep(0.05)


def _assert_all_rows_are_there(url: str, count: int) -> None:
    assert _count(url, "c_LoggedJob WHERE Success") == count


def _count(url: str, rows: str) -> int:
    backend = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite"}[url.partition(":")[0]]
    engine = sa.create_engine(sa.make_url(url).set(drivername=backend), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return int(connection.scalar(sa.text(f"SELECT count(*) FROM {rows}")) or 0)


async def test_runs_per_second(peers: list[Peer], jobs: Path, tmp_path: Path):
    created: dict[str, list[float]] = {peer.name: [] for peer in peers}
    done: dict[str, list[float]] = {peer.name: [] for peer in peers}
    costs: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for number in range(ROUNDS):
        for peer in peers:
            created[peer.name].append(await _fill(peer, RUNS))
            folder = tmp_path / f"{peer.name} {number}"
            rate, cost = await _drain(peer, folder, jobs, RUNS)
            done[peer.name].append(rate)
            costs[peer.name].append(cost)
    for peer in peers:
        report(
            f"{peer.name:<26} {median(done[peer.name]):6.0f} runs/s,"
            f" {median(costs[peer.name]):5.2f} ms of the worker's processor each,"
            f" created {median(created[peer.name]):6.0f}/s (medians of {ROUNDS})"
        )
        measured(RUNS_TOPIC, peer.name, "runs done", "runs/s", done[peer.name])
        measured(RUNS_TOPIC, peer.name, "processor of the worker", "ms", costs[peer.name])
        measured(RUNS_TOPIC, peer.name, "runs created", "runs/s", created[peer.name])
        if peer.module == "peer_targcc":
            _assert_all_rows_are_there(peer.url, RUNS * ROUNDS)
    ratios = list(map(truediv, done[OURS_PG], done[RAW]))
    of_raw = median(ratios)
    percent = [ratio * 100 for ratio in ratios]
    measured(RUNS_TOPIC, OURS_PG, "of Procrastinate", "%", percent)
    report(f"  of Procrastinate, by rounds: {', '.join(f'{ratio:.0%}' for ratio in ratios)}")
    ratios = list(map(truediv, done[OURS_LITE], done[HUEY]))
    of_huey = median(ratios)
    measured(RUNS_TOPIC, OURS_LITE, "of Huey", "%", [ratio * 100 for ratio in ratios])
    report(f"  of Huey, which keeps no history: {of_huey:.0%}")
    aim("PostgreSQL, of Procrastinate", of_raw * 100, 70, "%", most=False)
    aim("SQLite", median(done[OURS_LITE]), 500, "runs/s", most=False)
    await _say_where_the_time_goes(peers, jobs, tmp_path)
    assert of_raw >= 0.3
    assert of_huey >= 0.15


async def _say_where_the_time_goes(peers: list[Peer], jobs: Path, folder: Path) -> None:
    for peer in peers:
        if peer.module == "peer_targcc":
            await _fill(peer, 500)
            file = folder / f"{peer.name}.profile"
            profile = {peer_targcc.PROFILE: str(file)}
            await _drain(peer, folder / f"{peer.name}-profile", jobs, 500, profile)
            shares = "  ".join(f"{name} {share:.0%}" for name, share in _shares(file))
            report(f"  {peer.name}: the busy time of its loop: {shares}")


_PARTS = {
    "scheduler": "our code",
    "sqlalchemy": "SQLAlchemy",
    "procrastinate": "Procrastinate",
    "psycopg": "psycopg",
    "psycopg_pool": "psycopg",
    "aiosqlite": "sqlite3",
    "asyncio": "asyncio",
    "logging": "logging",
}


def _shares(file: Path) -> list[tuple[str, float]]:
    """Return the parts of a profiled event loop by their share of time, largest first, without waiting."""
    spent = Counter[str]()
    for (path, _, function), (_, _, own, _, _) in pstats.Stats(str(file)).stats.items():  # type: ignore[attr-defined]  # typeshed does not have it
        if "poll" in function or "select" in function:
            continue
        spent[_part(path, function)] += own
    whole = sum(spent.values())
    return [(name, seconds / whole) for name, seconds in spent.most_common(7)]


def _part(path: str, function: str) -> str:
    if path == "~":
        return next(
            (name for name in ("sqlite3", "psycopg") if name in function), "other built-ins"
        )
    parts = Path(path).parts
    return next((_PARTS[part] for part in reversed(parts) if part in _PARTS), "other Python")


# From due to started.


def _quantiles(name: str, what: str, noted: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the median and the 99th percentile of the waits, in milliseconds."""
    waits = [(began - due) * 1000 for due, began in noted]
    measured(WAITS, name, what, "ms", waits)
    cuts = quantiles(waits, n=100, method="inclusive")
    return cuts[49], cuts[98]


async def _at_once(peer: Peer, worker: Worker, count: int) -> tuple[float, float]:
    """Create runs one by one while a worker waits for them."""
    before = len(peer_notes.read(worker.notes))
    async with peer.connected() as send:
        for _ in range(count):
            await send(time.time())
            await asyncio.sleep(0.01)
        noted = await worker.until_noted(before + count)
    return _quantiles(peer.name, "at once", noted[before:])


async def _later(peer: Peer, worker: Worker, count: int, gap: float) -> tuple[float, float]:
    """Create runs that are due from 2 s on, at the given gap."""
    before = len(peer_notes.read(worker.notes))
    async with peer.connected() as send:
        start = time.time() + 2
        for number in range(count):
            await send(start + number * gap, later=True)
        noted = await worker.until_noted(before + count)
    return _quantiles(peer.name, f"due later, every {gap * 1000:g} ms", noted[before:])


async def test_from_due_to_started(peers: list[Peer], jobs: Path, tmp_path: Path):
    waits, later, alone = {}, {}, {}
    for peer in peers:
        with working(peer, tmp_path / peer.name, jobs) as worker:
            async with peer.connected() as send:  # the worker is ready after its first run
                await send(time.time())
                await worker.until_noted(1)
            waits[peer.name] = await _at_once(peer, worker, 300)
            later[peer.name] = await _later(peer, worker, 100, 0.02)
            if peer.module == "peer_targcc":
                alone[peer.name] = await _later(peer, worker, 30, 0.1)
        (half, most), (half_later, most_later) = waits[peer.name], later[peer.name]
        report(
            f"{peer.name:<26} at once: 50% {half:6.1f} ms, 99% {most:6.1f} ms"
            f"   due later: 50% {half_later:6.1f} ms, 99% {most_later:6.1f} ms"
        )
    for name in (OURS_PG, OURS_LITE):
        for kind, (half, most) in (
            ("at once", waits[name]),
            ("due later, every 20 ms", later[name]),
            ("due later, every 100 ms", alone[name]),
        ):
            aim(f"{name}, {kind}, half", half, 20, "ms", most=True)
            aim(f"{name}, {kind}, 99%", most, 250, "ms", most=True)
    report("  SQLite, at once: these runs come from another process, which the worker looks for")
    report(
        f"  every {_GLANCE_SECONDS * 1000:g} ms, and hears of by a nudge; see test_bench_runtime.py for one process"
    )
    assert waits[OURS_PG][0] < 60
    assert waits[OURS_LITE][0] < 90
    assert later[OURS_PG][0] < later[RAW][0]
    assert later[OURS_LITE][0] < later[HUEY][0]


# Idle, with a thousand scheduled jobs.


async def test_idle_with_a_thousand_schedules(
    peers: list[Peer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    jobs = tmp_path / "many"
    peer_targcc.write_jobs(jobs, SCHEDULES, HOUR)
    monkeypatch.syspath_prepend(str(jobs))
    compiling = await _first_start(peers[0], jobs, tmp_path)
    ready: dict[str, float] = {}
    with ExitStack() as stack:
        workers = []
        for peer in peers:
            if peer.url.startswith("postgresql"):
                _log_statements(peer.url)
            worker = stack.enter_context(_with_many(peer, jobs, tmp_path / peer.name))
            ready[peer.name] = await _until_ready(worker)
            workers.append(worker)
        await asyncio.sleep(4)  # let all systems become idle
        idle = await _watch(workers, 12)
    for peer, worker in zip(peers, workers, strict=True):
        cpu, statements, memory = idle[peer.name]
        report(
            f"{peer.name:<26} first run after {ready[peer.name]:5.2f} s   idle: {cpu:6.2%} of a core,"
            f" {statements:5.1f} statements/s, {memory:4.0f} MiB"
        )
        for what, unit, value in (
            ("first run", "s", ready[peer.name]),
            ("idle", "% of a core", cpu * 100),
            ("idle", "statements/s", statements),
            ("idle, memory", "MiB", memory),
        ):
            measured(IDLE, peer.name, what, unit, [value])
        if peer.module == "peer_targcc":
            report(f"  of it {worker.said().splitlines()[0]}")
    report(f"  the very first start, which compiles 1,000 job files: {compiling:.2f} s")
    for name in (OURS_PG, OURS_LITE):
        aim(f"{name}, first run with 1,000 jobs", ready[name], 2, "s", most=True)
        aim(f"{name}, idle", idle[name][0] * 100, 1, "% of a core", most=True)
    assert max(idle[OURS_PG][0], idle[OURS_LITE][0]) < 0.03
    assert max(ready[OURS_PG], ready[OURS_LITE]) < 6


def _with_many(peer: Peer, jobs: Path, folder: Path) -> AbstractContextManager[Worker]:
    return working(peer, folder, jobs, schedules=SCHEDULES)


async def _first_start(peer: Peer, jobs: Path, folder: Path) -> float:
    with _with_many(peer, jobs, folder / "first") as worker:
        seconds = await _until_ready(worker)
        await _until_settled(peer)
        return seconds


async def _until_ready(worker: Worker) -> float:
    """Return the seconds from the start of a process to the start of a run created meanwhile."""
    async with worker.peer.connected() as send:
        await send(time.time())
    ((_, began),) = await worker.until_noted(1)
    return began - worker.started


async def _watch(workers: list[Worker], seconds: float) -> dict[str, tuple[float, float, float]]:
    """Return share of a core, statements a second and MiB of each worker, all over the same time."""

    def state() -> list[tuple[float, int]]:
        return [
            (worker.cpu_seconds(), worker.peer.statements(worker.counter)) for worker in workers
        ]

    before, since = state(), time.perf_counter()
    await asyncio.sleep(seconds)
    after, took = state(), time.perf_counter() - since
    return {
        worker.peer.name: ((cpu - cpu0) / took, (sent - sent0) / took, worker.memory())
        for worker, (cpu0, sent0), (cpu, sent) in zip(workers, before, after, strict=True)
    }
