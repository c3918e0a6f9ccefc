"""All judgements of a storm, and the figures of its table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from storms.checker import (
    batches,
    continuations,
    expiry,
    flows,
    keys,
    people,
    pools,
    runs,
    slots,
    tables,
    turns,
)
from storms.checker.evidence import Complaint, Evidence

JUDGEMENTS: tuple[Callable[[Evidence], Iterator[Complaint]], ...] = (
    runs.acknowledged_runs_end,
    runs.tokens_are_performed_by_their_runs,
    runs.executions_have_causes,
    runs.nothing_follows_a_success,
    runs.executions_do_not_overlap,
    runs.limits_are_kept,
    runs.nothing_outlives_its_node,
    runs.losses_have_causes,
    runs.rescues_are_in_time,
    runs.runs_of_silent_nodes_go_on,
    runs.kept_steps_are_not_repeated,
    continuations.children_wait_for_what_was_asked,
    continuations.children_go_as_their_parents_end,
    continuations.children_start_after_their_parents,
    batches.batches_are_whole,
    batches.batches_count_their_runs,
    batches.batches_are_followed,
    keys.keys_are_performed_one_at_a_time,
    keys.keys_have_one_run,
    keys.runs_stand_for_others_while_they_may,
    keys.the_latest_is_performed,
    keys.nothing_is_left_of_what_was_rolled_back,
    keys.refusals_have_causes,
    flows.flows_are_there_once,
    flows.flows_end_as_their_steps,
    flows.steps_end_as_they_should,
    flows.steps_begin_after_those_before,
    flows.the_fan_in_sees_all,
    expiry.nothing_begins_after_its_expiry,
    expiry.what_expires_is_cancelled,
    slots.slots_are_there_once,
    slots.slots_reach_from_begin_to_end,
    slots.slots_are_performed_once,
    slots.slots_end_as_policy_says,
    slots.slots_are_not_early,
    slots.new_schedules_stay,
    pools.no_more_than_its_workers,
    pools.nothing_begins_while_paused,
    pools.the_lower_waits_for_the_higher,
    pools.who_has_more_points_goes_first,
    turns.room_is_used,
    turns.nobody_is_passed_over,
    people.what_was_made_is_there,
    people.deleted_runs_are_gone,
    people.cancelled_runs_do_not_begin,
    people.a_key_makes_one_run,
    people.work_is_repeated_by_reruns_only,
    people.batches_of_people_count_right,
    people.batches_of_people_are_followed_once,
    people.flows_of_people_end_as_their_steps,
    people.broken_expectations_are_told_once,
    tables.states_go_forward,
    tables.nothing_runs_without_a_node,
    tables.history_is_the_record,
    tables.rows_tell_what_was_performed,
    tables.executions_have_their_run,
    tables.nodes_live_until_told,
)
_NAMED = re.compile(r"\brun (\d+)")


@dataclass(frozen=True)
class Verdict:
    """Result of a storm.

    Args:
        complaints: The broken guarantees.
        figures: Counts of runs, faults and other events.
        lives: The rows and the job records of the runs named in complaints.
    """

    complaints: tuple[Complaint, ...]
    figures: dict[str, int | float]
    lives: tuple[str, ...] = ()


def check(evidence: Evidence) -> Verdict:
    """Judge a storm."""
    complaints = tuple(item for judge in JUDGEMENTS for item in judge(evidence))
    return Verdict(complaints, _figures(evidence, complaints), tuple(_lives(evidence, complaints)))


def _lives(evidence: Evidence, complaints: tuple[Complaint, ...]) -> Iterator[str]:
    named_runs = {item.run for item in complaints}
    named_runs |= {int(run) for item in complaints for run in _NAMED.findall(item.text)}
    for run in evidence.runs:
        if run.id in named_runs:
            yield f"run {run.id} ({run.job}, slot {run.slot})"
            life = [
                (evidence.mono(entry.wall), f"{entry.state} {entry.note}") for entry in run.life
            ]
            life += [
                (entry.start, f"performed on {entry.node} until {entry.end}")
                for entry in evidence.executions_by_run.get(run.id, ())
            ]
            yield from (f"  {at - evidence.began:.3f} {what}" for at, what in sorted(life))


def _figures(evidence: Evidence, complaints: tuple[Complaint, ...]) -> dict[str, int | float]:
    lost = {item.run for item in complaints if item.rule == "acknowledged"}
    doubled = {item.run for item in complaints if item.rule in {"doubled", "overlap"}}
    by_state = [run.state for run in evidence.runs if run.slot is not None]
    return {
        "kills": sum(fault.kind == "kill" for fault in evidence.faults),
        "faults": sum(fault.kind != "kill" for fault in evidence.faults),
        "acknowledged": len(evidence.acknowledged),
        "executions": len(evidence.executions),
        "children": len(evidence.asked_children),
        "batches": len(evidence.asked_batches),
        "keyed": len(evidence.asked_keys),
        "flows": len(evidence.flows),
        "pauses": len(evidence.pauses),
        "acts": sum(act.done for act in evidence.acts),
        "told": len(evidence.told),
        "expired": sum(run.message.startswith("expired: ") for run in evidence.runs),
        "rescued": sum(change.lost is not None for run in evidence.runs for change in run.life),
        "lost": len(lost),
        "doubled": len(doubled),
        "slots": len(by_state),
        "slots_missed": by_state.count("missed"),
        "slots_skipped": by_state.count("skipped"),
        "left": evidence.left,
        "stands": int(evidence.stands),
        "complaints": len(complaints),
        "seconds": round(evidence.quiet - evidence.began, 1),
    }
