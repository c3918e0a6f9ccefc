"""Guarantees of batches: complete, with correct counts, ended with their last run, and followed by their callbacks."""

from __future__ import annotations

from collections.abc import Iterator

from storms.checker.continuations import earliest_end
from storms.checker.evidence import FINAL, Complaint, Evidence, Run
from storms.checker.runs import may_have_failed
from storms.checker.tied import Batch

CALLBACKS = {"success": "Gathered", "finish": "Finished"}
"""Callback jobs of every batch of the storm's application, by their condition."""


def batches_are_whole(evidence: Evidence) -> Iterator[Complaint]:
    """An acknowledged batch exists with all requested runs, and no batch has only a part of its runs."""
    batches_by_id = {batch.id: batch for batch in evidence.batches}
    performed = {item.run: item.token for item in evidence.executions}
    for request in evidence.asked_batches:
        batch = batches_by_id.get(request.id)
        if batch is None:
            yield Complaint("batch", f"batch {request.id} is not there")
            continue
        tokens = {performed[run] for run in batch.members if run in performed}
        if batch.total != len(request.tokens) or not tokens <= set(request.tokens):
            text = f"batch {batch.id} has {batch.total} runs, {len(request.tokens)} were asked for: {sorted(tokens)}"
            yield Complaint("batch", text)
    for batch in evidence.batches:
        if batch.total != len(batch.members):
            text = f"batch {batch.id} counts {batch.total} runs and has {len(batch.members)}"
            yield Complaint("batch", text)


def batches_count_their_runs(evidence: Evidence) -> Iterator[Complaint]:
    """``Pending`` and ``Failed`` equal the runs' states. A batch ends when all its runs have ended, and never continues afterwards."""
    for batch in evidence.batches:
        states = [run.state for run in _members(evidence, batch)]
        pending = sum(state not in FINAL for state in states)
        failed = len(states) - pending - states.count("succeeded")
        if (batch.pending, batch.failed) != (pending, failed):
            text = f"counts {batch.pending} pending and {batch.failed} failed; there are {pending} and {failed}"
            yield Complaint("batch", f"batch {batch.id} {text}")
        ends = "failed" if failed else "succeeded"
        if batch.state != ends:
            yield Complaint("batch", f"batch {batch.id} is {batch.state}, not {ends}")


def batches_are_followed(evidence: Evidence) -> Iterator[Complaint]:
    """Each callback of a batch is one run and begins after all runs have ended; ``on_success`` begins only if no run failed."""
    callbacks = {name: _callbacks(evidence, name) for name in CALLBACKS}
    for batch in evidence.batches:
        members = _members(evidence, batch)
        well = all(run.state == "succeeded" for run in members)
        for name, runs_by_batch in callbacks.items():
            run_ids = runs_by_batch.get(batch.id, [])
            if len(run_ids) != 1:
                text = f"batch {batch.id} has {len(run_ids)} runs of {CALLBACKS[name]}"
                yield Complaint("batch", text)
            for run_id in run_ids:
                goes = well or name == "finish"
                yield from _callback_is_in_order(evidence, batch, run_id, members, goes=goes)
    linked = {
        run
        for runs_by_batch in callbacks.values()
        for run_ids in runs_by_batch.values()
        for run in run_ids
    }
    for run in evidence.runs:
        if run.job in CALLBACKS.values() and run.id not in linked:
            yield Complaint("batch", f"{run.job} follows no batch", run.id)


def _callback_is_in_order(
    evidence: Evidence, batch: Batch, run_id: int, members: list[Run], *, goes: bool
) -> Iterator[Complaint]:
    run, begun = evidence.run_by_id.get(run_id), evidence.executions_by_run.get(run_id, [])
    if run is None:
        yield Complaint("batch", f"a callback of batch {batch.id} is not there", run_id)
        return
    if goes and run.state != "succeeded" and not may_have_failed(evidence, run):
        yield Complaint("batch", f"{run.job} of batch {batch.id} is {run.state}", run_id)
    if not goes and (begun or run.state != "awaiting"):
        text = f"{run.job} of batch {batch.id} is {run.state}, though a run of it failed"
        yield Complaint("batch", text, run_id)
    ended = max((earliest_end(evidence, member) for member in members), default=0.0)
    if begun and begun[0].start < ended:
        text = f"{run.job} began {ended - begun[0].start:.2f} s before batch {batch.id} was over"
        yield Complaint("batch", text, run_id)


def _members(evidence: Evidence, batch: Batch) -> list[Run]:
    return [evidence.run_by_id[run] for run in batch.members if run in evidence.run_by_id]


def _callbacks(evidence: Evidence, condition: str) -> dict[int, list[int]]:
    """Map each batch to the runs that wait for its end with this condition."""
    runs_by_batch: dict[int, list[int]] = {}
    for link in evidence.links:
        if link.kind == "batch" and link.condition == condition:
            runs_by_batch.setdefault(link.parent, []).append(link.child)
    return runs_by_batch
