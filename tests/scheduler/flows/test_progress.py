"""Tables: the next steps of a flow and the state of the flow."""

import pytest
from targcc_scheduler.features.flows.graph import StepState, flow_state, outcome, verdict

SUCCEEDED, FAILED, CANCELLED = StepState.SUCCEEDED, StepState.FAILED, StepState.CANCELLED
SKIPPED, RUNNING, WAITING = StepState.SKIPPED, StepState.RUNNING, StepState.WAITING


@pytest.mark.parametrize(
    ("on", "before", "state", "why"),
    [
        ("success", [], RUNNING, ""),
        ("success", [SUCCEEDED], RUNNING, ""),
        ("success", [SUCCEEDED, SUCCEEDED], RUNNING, ""),
        ("success", [SUCCEEDED, SKIPPED], RUNNING, ""),
        ("success", [SKIPPED, SUCCEEDED], RUNNING, ""),
        ("success", [SKIPPED], SKIPPED, "skipped with step a"),
        ("success", [SKIPPED, SKIPPED], SKIPPED, "skipped with step a"),
        ("success", [SUCCEEDED, FAILED], CANCELLED, "step b failed"),
        ("success", [SKIPPED, FAILED], CANCELLED, "step b failed"),
        ("success", [CANCELLED, FAILED], CANCELLED, "step a was cancelled"),
        ("failure", [], SKIPPED, "no step before it failed"),
        ("failure", [SUCCEEDED], SKIPPED, "no step before it failed"),
        ("failure", [SKIPPED], SKIPPED, "no step before it failed"),
        ("failure", [SUCCEEDED, FAILED], RUNNING, ""),
        ("failure", [SKIPPED, CANCELLED], RUNNING, ""),
        ("finish", [], RUNNING, ""),
        ("finish", [SUCCEEDED], RUNNING, ""),
        ("finish", [FAILED], RUNNING, ""),
        ("finish", [CANCELLED], RUNNING, ""),
        ("finish", [SKIPPED], RUNNING, ""),
        ("finish", [SKIPPED, SKIPPED], RUNNING, ""),
    ],
)
def test_what_becomes_of_a_step_once_those_before_it_are_over(on, before, state, why):
    assert verdict(on, dict(zip("abc", before, strict=False))) == (state, why)


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ({}, SUCCEEDED),
        ({"succeeded": 3}, SUCCEEDED),
        ({"succeeded": 3, "cancelled": 0, "failed": 0}, SUCCEEDED),
        ({"succeeded": 3, "cancelled": 1}, CANCELLED),
        ({"succeeded": 3, "cancelled": 1, "failed": 1}, FAILED),
    ],
)
def test_how_a_step_ended_by_its_runs(states, state):
    assert outcome(states) == state


@pytest.mark.parametrize(
    ("steps", "cancelled", "state"),
    [
        ([], False, SUCCEEDED),
        ([SUCCEEDED, SKIPPED], False, SUCCEEDED),
        ([SKIPPED], False, SUCCEEDED),
        ([SUCCEEDED, FAILED], False, FAILED),
        ([SUCCEEDED, CANCELLED], False, FAILED),
        ([FAILED, WAITING], False, RUNNING),
        ([FAILED, RUNNING], True, RUNNING),
        ([SUCCEEDED, FAILED], True, CANCELLED),
        ([SUCCEEDED], True, CANCELLED),
    ],
)
def test_how_a_flow_stands_by_its_steps(steps, cancelled, state):
    assert flow_state(steps, cancelled=cancelled) == state
