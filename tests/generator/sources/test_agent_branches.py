"""Steps of an Agent job that branch: the flow runs the same steps on every way, or the reason says why there is none."""

from itertools import product

import pytest
from targcc_gen.sources.sql_agent.branches import NoFlowError, Place, Ways, flow_of
from targcc_scheduler.features.flows.graph import StepState, verdict


def agent(ways, first, good):
    """Return the steps that Agent runs, in order, where ``good`` has the success of each step."""
    step, ran = first, []
    while step is not None:
        ran.append(step)
        step = ways[step].success if good[step] else ways[step].failure
    return ran


def played(places, good):
    """Return the steps that the flow runs, in the order of the flow."""
    states = {}
    for step, place in places.items():
        state = verdict(place.on, {str(each): states[each] for each in place.after}).state
        if state is StepState.RUNNING:
            state = StepState.SUCCEEDED if good[step] else StepState.FAILED
        states[step] = state
    return [step for step, state in states.items() if state in {StepState.SUCCEEDED, StepState.FAILED}]  # fmt: skip


FLOWS = {
    "one handler for every step": (
        {1: Ways(2, 4), 2: Ways(3, 4), 3: Ways(None, 4), 4: Ways(None, None)},
        {2: Place((1,)), 3: Place((2,)), 4: Place((1, 2, 3), "failure")},
    ),
    "a last step that runs always": (
        {1: Ways(2, 3), 2: Ways(3, 3), 3: Ways(None, None)},
        {2: Place((1,)), 3: Place((1, 2), "finish")},
    ),
    "on with the next after a failure": (
        {1: Ways(2, 2), 2: Ways(None, None)},
        {2: Place((1,), "finish")},
    ),
    "a fork": (
        {1: Ways(2, 3), 2: Ways(None, None), 3: Ways(None, None)},
        {2: Place((1,)), 3: Place((1,), "failure")},
    ),
}


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_runs_the_same_steps_on_every_way(name):
    ways, expected = FLOWS[name]
    places = flow_of(ways, 1)

    assert {step: places[step] for step in expected} == expected
    for outcome in product([True, False], repeat=len(ways)):
        good = dict(zip(ways, outcome, strict=True))
        assert sorted(played(places, good)) == sorted(agent(ways, 1, good)), good


@pytest.mark.parametrize(
    ("ways", "reason"),
    [
        ({1: Ways(2, None), 2: Ways(None, 1)}, "step 2 goes back to step 1"),
        ({1: Ways(1, None)}, "step 1 goes back to step 1"),
        ({1: Ways(7, None)}, "step 1 goes to step 7, which does not exist"),
        (
            {1: Ways(2, None), 2: Ways(None, 3), 3: Ways(None, None)},
            "no flow runs the same steps",
        ),
    ],
)
def test_steps_that_make_no_flow_are_refused_with_the_reason(ways, reason):
    with pytest.raises(NoFlowError, match=reason):
        flow_of(ways, 1)


def test_steps_that_nothing_leads_to_are_left_out():
    assert list(flow_of({1: Ways(3, None), 2: Ways(3, None), 3: Ways(None, None)}, 1)) == [1, 3]


@pytest.mark.parametrize("seed", range(60))
def test_a_random_job_becomes_an_equal_flow_or_none(seed):
    import random

    source = random.Random(seed)
    count = source.randint(2, 6)
    ways = {
        step: Ways(*(source.choice([None, *range(step + 1, count + 1)]) for _ in range(2)))
        for step in range(1, count + 1)
    }
    try:
        places = flow_of(ways, 1)
    except NoFlowError:
        return
    for outcome in product([True, False], repeat=count):
        good = dict(zip(ways, outcome, strict=True))
        assert sorted(played(places, good)) == sorted(agent(ways, 1, good)), (ways, good)
