"""Model of a project: what runs, batches, flows, unique keys and limits look like after each call, while no worker runs beside.

The model knows the documented rules only. A run works when :meth:`Model.work` says so, one run after the other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

OVER = ("succeeded", "failed", "cancelled")
_ENDS = {"success": ("succeeded",), "failure": ("failed",), "finish": OVER}


@dataclass
class Run:
    """A run of the model.

    Args:
        fails: Whether the run's attempt fails.
        key: Unique key.
        limit: Key of a limit of 1.
        batch: The batch.
        parent: The run that the run waits for.
        on: How the parent has to end.
        callback_of: The batch whose end the run waits for.
    """

    fails: bool = False
    key: str | None = None
    limit: str | None = None
    batch: int | None = None
    parent: int | None = None
    on: str = "success"
    callback_of: int | None = None
    state: str = "enqueued"
    discarded: bool = False


@dataclass
class Batch:
    """A batch of the model; members that left before their end do not count."""

    total: int = 0
    parent: int | None = None
    state: str = "running"
    is_cancelled: bool = False


class RefusedError(Exception):
    """The call is not allowed in this state."""


@dataclass
class Model:
    """All runs and batches by id."""

    runs: dict[int, Run] = field(default_factory=dict)
    batches: dict[int, Batch] = field(default_factory=dict)
    gone: Counter[int] = field(default_factory=Counter)
    """Failed members that were deleted, by batch."""

    # Calls.

    def holder(self, key: str | None) -> int | None:
        """Return the run that has a unique key."""
        for run_id, run in self.runs.items():
            if key is not None and run.key == key and run.state not in OVER:
                return run_id
        return None

    def add(self, run_id: int, run: Run) -> None:
        """Insert a run that the scheduler has created."""
        self.runs[run_id] = run
        parent = self.runs.get(run.parent) if run.parent is not None else None
        if parent is not None:
            run.state = "awaiting"
            if parent.state in OVER:
                self._decide(run_id, parent.state)
        if run.callback_of is not None:
            run.state = "awaiting"

    def cancel(self, run_id: int) -> None:
        """Cancel a run that has not begun."""
        run = self._get(run_id)
        if run.state in OVER:
            raise RefusedError
        self._end(run_id, "cancelled")

    def cancel_batch(self, batch_id: int) -> None:
        """Cancel the runs of a batch and of its inner batches."""
        inner = [key for key, batch in self.batches.items() if batch.parent == batch_id]
        self.batches[batch_id].is_cancelled |= self.batches[batch_id].state == "running"
        for key in inner:
            self.cancel_batch(key)
        for run_id, run in list(self.runs.items()):
            if run.batch == batch_id and run.state not in OVER:
                self._end(run_id, "cancelled")

    def delete(self, run_id: int) -> None:
        """Delete a run."""
        run = self._get(run_id)
        del self.runs[run_id]
        batch = self.batches.get(run.batch) if run.batch is not None else None
        if batch is not None and run.state not in OVER:
            batch.total -= 1
        elif batch is not None and run.state != "succeeded":
            self.gone[run.batch or 0] += 1
        for child_id in self._children(run_id):
            child = self.runs[child_id]
            if run.state not in OVER or run.state not in _ENDS[child.on]:
                self._decide(child_id, "deleted")
        self.settle_batch(run.batch)

    def retry(self, run_id: int, new_id: int) -> None:
        """Insert the rerun of a run that is over; discarded dependents come again and are read from the database."""
        old = self._get(run_id)
        if old.state not in OVER:
            raise RefusedError
        rerun = Run(old.fails, old.key, old.limit, old.batch)
        old.batch = None
        self.runs[new_id] = rerun
        self._reopen(rerun.batch)

    def can_retry(self, run_id: int) -> bool:
        """Return whether a retry touches no other run than the batch: dependents are the subject of tests of their own."""
        run = self.runs[run_id]
        return not self._links(run_id) and run.parent is None and run.callback_of is None

    # Work of a node.

    def ready(self) -> list[int]:
        """Return the runs that a worker may begin."""
        return sorted(run_id for run_id, run in self.runs.items() if run.state == "enqueued")

    def work(self) -> None:
        """Perform runs until none is ready."""
        while ready := self.ready():
            run_id = ready[0]
            self._end(run_id, "failed" if self.runs[run_id].fails else "succeeded")

    # Rules.

    def counts(self, batch_id: int) -> tuple[int, int, int, str]:
        """Return pending, failed and all members, and the state of a batch."""
        batch = self.batches[batch_id]
        members = [run.state for run in self.runs.values() if run.batch == batch_id]
        inner = [item.state for item in self.batches.values() if item.parent == batch_id]
        pending = sum(state not in OVER for state in members) + inner.count("running")
        ended = [state for state in [*members, *inner] if state in OVER]
        failed = sum(state != "succeeded" for state in ended) + self.gone[batch_id]
        return pending, failed, batch.total, batch.state

    def _get(self, run_id: int) -> Run:
        if run_id not in self.runs:
            raise RefusedError
        return self.runs[run_id]

    def _links(self, run_id: int) -> list[int]:
        return [child_id for child_id, child in self.runs.items() if child.parent == run_id]

    def _children(self, run_id: int) -> list[int]:
        return [child for child in self._links(run_id) if self.runs[child].state == "awaiting"]

    def _end(self, run_id: int, state: str) -> None:
        self.runs[run_id].state = state
        for child_id in self._children(run_id):
            self._decide(child_id, state)
        self.settle_batch(self.runs[run_id].batch)

    def _decide(self, child_id: int, outcome: str) -> None:
        child = self.runs[child_id]
        if outcome in _ENDS[child.on] or (child.on == "finish" and outcome == "deleted"):
            child.state = "enqueued"
        else:
            child.discarded = True
            self._end(child_id, "cancelled")

    def settle_batch(self, batch_id: int | None) -> None:
        """End a batch without pending members; its callbacks go as its end says."""
        if batch_id is None or self.batches[batch_id].state != "running":
            return
        pending, failed, _, _ = self.counts(batch_id)
        if pending:
            return
        batch = self.batches[batch_id]
        batch.state = ("cancelled" if batch.is_cancelled else "failed") if failed else "succeeded"
        for run in self.runs.values():
            if run.callback_of == batch_id and run.state == "awaiting":
                run.state = "enqueued" if batch.state in _ENDS[run.on] else "awaiting"
        self.settle_batch(batch.parent)

    def _reopen(self, batch_id: int | None) -> None:
        if batch_id is not None:
            batch = self.batches[batch_id]
            batch.is_cancelled &= batch.state == "running"
            batch.state = "running"
            self._reopen(self.batches[batch_id].parent)
