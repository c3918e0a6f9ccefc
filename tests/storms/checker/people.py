"""Guarantees of acts of people: cancelled and deleted runs do not begin, reruns exist, a key creates one run, and batches count right."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from storms.checker.causes import has_just_woken
from storms.checker.evidence import FINAL, SKEW, Complaint, Evidence
from storms.checker.tied import Act, Batch
from storms.policies import HANDLED, PROMPT, PROMPT_SECONDS

_RUNS = frozenset({"start", "retry", "add", "burst"})
"""Acts that make runs."""
_CALLBACK = "Settled"
_BEGINS = 2.0
"""Seconds after an act within which a node may still begin a run that it had claimed before."""
_LOOKS = 15.0
"""Seconds between two looks of a node for broken expectations."""


def what_was_made_is_there(evidence: Evidence) -> Iterator[Complaint]:
    """Each run, batch and flow that an act made is there and has ended, unless somebody may have deleted it."""
    flows = {flow.id: flow.state for flow in evidence.chains}
    batches = {batch.id: batch.state for batch in evidence.people_batches}
    for act in evidence.acts:
        for made in act.made:
            run = evidence.run_by_id.get(made)
            if act.kind == "flow" and flows.get(made) not in FINAL:
                yield Complaint("people", f"flow {made} is {flows.get(made, 'not there')}")
            elif act.kind == "batch" and batches.get(made) not in FINAL:
                yield Complaint("people", f"batch {made} is {batches.get(made, 'not there')}")
            elif act.kind in _RUNS and run is None and made not in evidence.deletable:
                yield Complaint(
                    "people", f"what a person asked for ({act.kind}) is not there", made
                )
            elif act.kind in _RUNS and run is not None and run.state not in FINAL:
                text = f"what a person asked for ({act.kind}) is still {run.state}"
                yield Complaint("people", text, made)


def deleted_runs_are_gone(evidence: Evidence) -> Iterator[Complaint]:
    """A deleted run has no row and does not begin afterwards."""
    for act in _done(evidence, "delete"):
        if act.target in evidence.run_by_id:
            yield Complaint("people", "was deleted and is there", act.target)
        yield from _does_not_begin(evidence, act, "deleted")


def cancelled_runs_do_not_begin(evidence: Evidence) -> Iterator[Complaint]:
    """A run that was cancelled while it waited stays cancelled; a run that was told to stop does not begin again."""
    for act in _done(evidence, "cancel"):
        run = evidence.run_by_id.get(act.target or 0)
        if run is not None and act.state == "cancelled" and run.state != "cancelled":
            yield Complaint("people", f"was cancelled while it waited and is {run.state}", run.id)
        yield from _does_not_begin(evidence, act, "cancelled")


def a_key_makes_one_run(evidence: Evidence) -> Iterator[Complaint]:
    """Repeated requests with one ``Idempotency-Key`` create one run."""
    runs: dict[str, set[int]] = defaultdict(set)
    for act in evidence.acts:
        if act.kind == "start":
            runs[act.token].update(act.made)
    for token, made in runs.items():
        if len(made) > 1:
            yield Complaint("people", f"{token} was asked for once and is {sorted(made)}")


def work_is_repeated_by_reruns_only(evidence: Evidence) -> Iterator[Complaint]:
    """One run performs the work of a token; each retry of the run, its batch or its flow allows one more."""
    runs: dict[str, set[int]] = defaultdict(set)
    for item in evidence.executions:
        if item.job == HANDLED:
            runs[item.token].add(item.run)
    reruns, groups = Counter(evidence.targets("retry")), Counter(evidence.targets("retry batch"))
    groups.update(evidence.targets("rerun flow"))
    for token, made in runs.items():
        rows = [evidence.run_by_id[run] for run in made if run in evidence.run_by_id]
        around = {group for row in rows if row.batch for group in _with_outer(evidence, row.batch)}
        times = sum(reruns[run] for run in made) + sum(groups[group] for group in around)
        if len(made) > 1 + times:
            text = f"{token} was performed by {sorted(made)}, and people retried {times} times"
            yield Complaint("people", text)


def batches_of_people_count_right(evidence: Evidence) -> Iterator[Complaint]:
    """``Pending`` is 0, ``Failed`` and the state agree with the members, and ``Total`` exceeds the members by deleted runs only."""
    inner: dict[int | None, list[Batch]] = defaultdict(list)
    for batch in evidence.people_batches:
        inner[batch.parent].append(batch)
    deleted = Counter(
        act.batch for act in evidence.acts if act.kind == "delete" and not act.refused
    )
    cancelled = set(evidence.targets("cancel batch"))
    for batch in evidence.people_batches:
        runs = [evidence.run_by_id[run] for run in batch.members if run in evidence.run_by_id]
        states = [run.state for run in runs if run.job != _CALLBACK]
        states += [other.state for other in inner[batch.id]]
        gone = batch.total - len(states)
        failed = len(states) - states.count("succeeded")
        if not 0 <= gone <= deleted[batch.id] + deleted[None]:
            text = f"counts {batch.total} members and has {len(states)}; {deleted[batch.id]} may have been deleted"
            yield Complaint("people", f"batch {batch.id} {text}")
        if batch.pending or not failed <= batch.failed <= failed + gone:
            text = f"{batch.pending} pending and {batch.failed} failed; {failed} have failed"
            yield Complaint("people", f"batch {batch.id} counts {text}")
        wanted = {"failed", "cancelled"} if batch.failed else {"succeeded"}
        if batch.state not in wanted:
            text = f"is {batch.state}, and counts {batch.failed} failed members"
            yield Complaint("people", f"batch {batch.id} {text}")
        if batch.state == "cancelled" and not cancelled & _with_outer(evidence, batch.id):
            yield Complaint("people", f"batch {batch.id} is cancelled, and nobody cancelled it")


def batches_of_people_are_followed_once(evidence: Evidence) -> Iterator[Complaint]:
    """The callback of each batch has one run, which has succeeded, even if the batch ended several times."""
    made = {made for act in evidence.acts if act.kind == "batch" for made in act.made}
    parents = Counter(
        link.parent
        for link in evidence.links
        if link.kind == "batch" and link.condition == "finish"
    )
    for batch in made:
        if parents[batch] != 1:
            yield Complaint("people", f"batch {batch} has {parents[batch]} callbacks")
    for run in evidence.runs:
        if run.job == _CALLBACK and run.state != "succeeded":
            yield Complaint("people", f"the callback of a batch is {run.state}", run.id)


def flows_of_people_end_as_their_steps(evidence: Evidence) -> Iterator[Complaint]:
    """A flow ends as its steps, and the last run of each step ends as the step."""
    runs = defaultdict(list)
    for run in sorted(evidence.runs, key=lambda run: run.id):
        if run.step is not None:
            runs[run.batch, run.step].append(run)
    for flow in evidence.chains:
        failed = sum(state in {"failed", "cancelled"} for state in flow.steps.values())
        wanted = {"failed", "cancelled"} if failed else {"succeeded"}
        if flow.pending or flow.failed != failed or flow.state not in wanted:
            text = (
                f"{flow.state}, {flow.pending} pending, {flow.failed} failed; {failed} steps failed"
            )
            yield Complaint("people", f"flow {flow.id} is {text}")
        for step, state in flow.steps.items():
            last = runs[flow.id, step][-1:]
            for run in last:
                if state not in (run.state, "skipped"):
                    text = f"{step} of flow {flow.id} is {state}, its run is {run.state}"
                    yield Complaint("people", text, run.id)


def broken_expectations_are_told_once(evidence: Evidence) -> Iterator[Complaint]:
    """A broken expectation causes one alert until it holds again."""
    if evidence.clock_was_set():
        return
    told = [item for item in evidence.told if item.job == PROMPT and item.kind == "late"]
    skew = SKEW.total_seconds()
    broken: list[list[float]] = []
    for start, end in sorted(_late(evidence)):
        if broken and start <= broken[-1][1]:
            broken[-1][1] = max(broken[-1][1], end)
        else:
            broken.append([start, end])
    for start, end in broken:
        first, last = start - skew, end + _LOOKS + skew
        keys = {item.key for item in told if first <= item.at <= last}
        times = sum(begun <= last and over + _LOOKS + skew >= first for begun, over in broken)
        if len(keys) > times:
            yield Complaint("told", f"{PROMPT} was late {times} times and told {len(keys)} times")
    for item in told:
        if not any(start - skew <= item.at <= end + _LOOKS + skew for start, end in broken):
            yield Complaint("told", f"{PROMPT} was said to be late at {item.at:.1f}")


def _late(evidence: Evidence) -> Iterator[tuple[float, float]]:
    """Yield the intervals in which a run waited for a worker longer than allowed."""
    for run in evidence.runs_by_job.get(PROMPT, []):
        since: float | None = None
        for change in run.life:
            at = evidence.mono(change.wall)
            if since is not None and at > since + PROMPT_SECONDS:
                yield since + PROMPT_SECONDS, at
            since = at if change.state == "enqueued" else None


def _does_not_begin(evidence: Evidence, act: Act, how: str) -> Iterator[Complaint]:
    """Yield executions that began after a run was cancelled or deleted."""
    for item in evidence.executions_by_run.get(act.target or 0, []):
        if item.start > act.at + _BEGINS and not has_just_woken(evidence, item):
            text = f"began {item.start - act.at:.1f} s after it was {how}"
            yield Complaint("people", text, item.run)


def _done(evidence: Evidence, kind: str) -> Iterator[Act]:
    return (act for act in evidence.acts if act.kind == kind and act.done)


def _with_outer(evidence: Evidence, batch: int) -> set[int]:
    """Return the ids of a batch and of the batches around it; of a flow its own."""
    parents = {other.id: other.parent for other in evidence.people_batches}
    ids: set[int] = set()
    here: int | None = batch
    while here is not None:
        ids.add(here)
        here = parents.get(here)
    return ids
