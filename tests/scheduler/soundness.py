"""Checker of a database at rest: states, counts, keys, limits and history agree with the rows of the runs.

The checker reads tables with statements of its own and calls nothing of the scheduler that computes a count.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import sqlalchemy as sa
from guarantee_rig import Ledger
from targcc_scheduler.core.states import ACTIVE, FINAL, TRANSITIONS, RunState
from targcc_scheduler.db.tables import (
    job_batch,
    job_limit,
    job_link,
    job_run,
    job_stat,
    job_unique,
    logged_job,
)
from targcc_scheduler.kernel.queries.models import run_of
from targcc_scheduler.kernel.runs.values import Tie

Begun = Sequence[tuple[int, int]]
"""Run and attempt of each start that the jobs recorded."""
_ENDS = {"success": {"succeeded"}, "failure": {"failed"}, "finish": {str(state) for state in FINAL}}
_OVER = {"succeeded", "failed", "cancelled", "skipped"}


def complaints(ledger: Ledger, *, begun: Begun = (), told: Iterable[Any] = ()) -> list[str]:
    """Return a sentence for each broken rule; an empty list for a sound database."""
    tables = (job_run, job_batch, job_link, job_unique, job_limit, logged_job, job_stat)
    rows = {table: ledger.rows(sa.select(table)) for table in tables}
    runs = {row.Id: row for row in rows[job_run]}
    checks = (
        _of_runs(runs, rows[logged_job]),
        _of_begun(runs, begun),
        _of_told(told),
        _of_batches(runs, rows[job_batch]),
        _of_flows(runs, rows[job_batch]),
        _of_links(runs, rows[job_batch], rows[job_link]),
        _of_keys(runs, rows[job_unique]),
        _of_limits(runs, rows[job_limit]),
        _of_statistics(runs, rows[logged_job], rows[job_stat]),
        _of_engine(ledger, runs),
    )
    return [sentence for check in checks for sentence in check]


def _of_runs(runs: dict[int, Any], history: Sequence[Any]) -> Iterator[str]:
    done = Counter(row.JobId for row in history if row.Success)
    tries = Counter((row.JobId, row.Attempt) for row in history)
    for key, count in tries.items():
        if count > 1:
            yield f"attempt {key[1]} of run {key[0]} is {count} times in the history"
    for row in runs.values():
        states = [RunState(entry.state) for entry in run_of(row).life]
        if states[-1] != row.State:
            yield f"run {row.Id} is {row.State}, and its last transition says {states[-1]}"
        for before, after in pairwise(states):
            if after not in TRANSITIONS[before]:
                yield f"run {row.Id} went from {before} to {after}"
        if (row.CompletedAt is not None) != (row.State in FINAL):
            yield f"run {row.Id} is {row.State} with CompletedAt {row.CompletedAt}"
        if done[str(row.Id)] != (row.State == RunState.SUCCEEDED):
            yield f"run {row.Id} is {row.State} with {done[str(row.Id)]} successes in the history"
        if row.State != RunState.RUNNING and row.State not in FINAL and row.ServerId is not None:
            yield f"run {row.Id} is {row.State} and belongs to {row.ServerId}"


def _of_begun(runs: dict[int, Any], begun: Begun) -> Iterator[str]:
    for (run_id, attempt), count in Counter(begun).items():
        if count > 1:
            yield f"attempt {attempt} of run {run_id} began {count} times"
    for run_id in {run_id for run_id, _ in begun} & runs.keys():
        row = runs[run_id]
        if "running" not in [entry.state for entry in run_of(row).life]:
            yield f"run {run_id} began and was never running"


def _of_told(told: Iterable[Any]) -> Iterator[str]:
    for event, count in Counter(told).items():
        if count > 1:
            yield f"{event} was told {count} times"


def _of_batches(runs: dict[int, Any], batches: Sequence[Any]) -> Iterator[str]:
    members: dict[int, list[str]] = defaultdict(list)
    for row in runs.values():
        if row.BatchId is not None and row.Step is None:
            members[row.BatchId].append(row.State)
    for row in batches:
        if row.ParentId is not None:
            members[row.ParentId].append(row.State)
    for row in batches:
        if row.Kind == "batch":
            yield from _of_batch(row, members[row.Id])


def _of_batch(row: Any, states: list[str]) -> Iterator[str]:
    """Members that a person deleted, or that were pruned, after their end stay in ``Total`` and ``Failed``."""
    pending = sum(state in ACTIVE for state in states)
    bad = sum(state in FINAL and state != "succeeded" for state in states)
    if row.Pending != pending:
        yield f"batch {row.Id} counts {row.Pending} pending members and has {pending}"
    if row.Total < len(states) or not bad <= row.Failed <= row.Total:
        counts = f"{row.Failed} failed of {row.Total}"
        yield f"batch {row.Id} counts {counts} and has {bad} of {len(states)}"
    ended = "succeeded" if row.Failed == 0 else "failed"
    expected = {"running"} if row.Pending else {ended, "cancelled" if row.Failed else ended}
    if row.State not in expected or (row.CompletedAt is None) != (row.State == "running"):
        yield f"batch {row.Id} is {row.State} with {row.Pending} pending, {row.Failed} failed"


def _of_flows(runs: dict[int, Any], batches: Sequence[Any]) -> Iterator[str]:
    active = {
        (row.BatchId, row.Step) for row in runs.values() if row.Step and row.State not in FINAL
    }
    for row in (batch for batch in batches if batch.Kind == "flow"):
        steps = {
            name: step["state"] for name, step in json.loads(row.DefinitionJson or "{}").items()
        }
        pending = sum(state not in _OVER for state in steps.values())
        bad = sum(state in {"failed", "cancelled"} for state in steps.values())
        if (row.Total, row.Pending, row.Failed) != (len(steps), pending, bad):
            counts = f"{row.Total} steps, {row.Pending} pending, {row.Failed} failed"
            yield f"flow {row.Id} counts {counts}; its steps are {steps}"
        for name, state in steps.items():
            if (state == "running") != ((row.Id, name) in active):
                yield f"step {name} of flow {row.Id} is {state} with active runs {active}"


def _of_links(runs: dict[int, Any], batches: Sequence[Any], links: Sequence[Any]) -> Iterator[str]:
    ended = {("run", row.Id): row.State for row in runs.values() if row.State in FINAL}
    ended |= {("batch", row.Id): row.State for row in batches if row.CompletedAt is not None}
    by_child: dict[int, list[Any]] = defaultdict(list)
    for link in links:
        by_child[link.ChildId].append(link)
    for child_id, parents in by_child.items():
        child = runs.get(child_id)
        if child is None:
            yield f"run {child_id} is gone and still has dependencies"
            continue
        if child.State != RunState.AWAITING or child.Ties & Tie.ASKS:
            continue
        for link in parents:
            parent = (link.ParentKind, link.ParentId)
            if parent in ended and link.Outcome != ended[parent]:
                yield f"run {child_id} waits: {parent} is {ended[parent]}, its link {link.Outcome}"
        met = [link.Outcome in _ENDS[link.Condition] for link in parents]
        if (any if parents[0].Quorum == "any" else all)(met):
            yield f"run {child_id} waits though its dependencies are satisfied"


def _of_keys(runs: dict[int, Any], keys: Sequence[Any]) -> Iterator[str]:
    for key in keys:
        holder = runs.get(key.RunId)
        if holder is None:
            yield f"key {key.UniqueKey} of {key.JobName} belongs to run {key.RunId}, which is gone"
    holders = Counter(
        (row.JobName, row.UniqueKey)
        for row in runs.values()
        if row.UniqueKey is not None and row.State in ACTIVE and not row.Ties & Tie.ASKS
    )
    for (job, name), count in holders.items():
        if count > 1:
            yield f"{count} active runs of {job} have the key {name}"


def _of_limits(runs: dict[int, Any], limits: Sequence[Any]) -> Iterator[str]:
    for limit in limits:
        of_key = [row for row in runs.values() if row.LimitKey == limit.LimitKey]
        taking = [
            row for row in of_key
            if row.State == "running" or (row.State == "enqueued" and row.RoomAt is not None)
        ]  # fmt: skip
        waits = [row.Id for row in of_key if row.State == "awaiting" and row.Ties & Tie.ASKS]
        taken = sum(row.Weight for row in taking)
        if limit.Most is not None and taken > limit.Most and len(taking) > 1:
            yield f"limit {limit.LimitKey} of {limit.Most} has {taken} taken"
        if waits and not taking and limit.Most and limit.IntervalMs is None:
            yield f"runs {waits} wait for capacity of {limit.LimitKey}, and nothing takes any"


def _of_statistics(
    runs: dict[int, Any], history: Sequence[Any], statistics: Sequence[Any]
) -> Iterator[str]:
    """Deleted runs stay counted, so each count is at least the number of rows."""
    counted: Counter[tuple[str, str]] = Counter()
    for row in statistics:
        counted[row.JobName, row.Outcome] += row.Count
    present = Counter((row.JobName, row.State) for row in runs.values() if row.State in FINAL)
    for (job, outcome), number in present.items():
        if counted[job, outcome] < number:
            yield f"statistics have {counted[job, outcome]} {outcome} runs of {job}, not {number}"
    succeeded = Counter(row.JobName for row in history if row.Success)
    for job, number in succeeded.items():
        if counted[job, "succeeded"] != number:
            wrong = counted[job, "succeeded"]
            yield f"statistics have {wrong} successes of {job}, its history {number}"


def _of_engine(ledger: Ledger, runs: dict[int, Any]) -> Iterator[str]:
    """On PostgreSQL each enqueued run has an entry in the engine's queue."""
    if ledger.engine.dialect.name != "postgresql":
        return
    query = sa.text("SELECT args FROM procrastinate_jobs WHERE status = 'todo'")
    entries: Counter[int] = Counter()
    for row in ledger.rows(query):
        entries.update(row.args.get("run_ids") or [row.args.get("run_id", 0)])
    for row in runs.values():
        if row.State == RunState.ENQUEUED and not entries[row.Id]:
            yield f"run {row.Id} is enqueued, and the engine has no entry for it"
