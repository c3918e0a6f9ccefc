"""The end of a storm waits for remaining work while it makes progress; requests follow their weights."""

import json
from collections import Counter
from pathlib import Path

import pytest

from storms import forged, report
from storms.backlog import Backlog
from storms.checker import check
from storms.plan import StormPlan
from storms.policies import WEIGHTS
from storms.submitter import _Submitter


def test_what_grows_as_it_is_done_is_waited_for():
    backlog = Backlog(patience=10, longest=1_000, now=0)
    for second in range(0, 100, 5):  # each finished item adds two items
        assert backlog.look(set(range(second, 3 * second + 5)), second)
    assert not backlog.stands
    assert not backlog.look(set(), 100)
    assert not backlog.stands


def test_what_nobody_does_is_waited_for_no_more():
    backlog = Backlog(patience=10, longest=1_000, now=0)
    assert backlog.look({1, 2, 3}, 5)
    assert backlog.look({2, 3}, 9)
    assert backlog.look({2, 3, 4}, 19)  # new items are no progress
    assert not backlog.look({2, 3, 4, 5}, 20)
    assert (backlog.stands, backlog.left) == (True, {2, 3, 4, 5})


def test_what_is_done_too_slowly_is_waited_for_no_longer_than_that():
    backlog = Backlog(patience=10, longest=100, now=0)
    waits = [backlog.look(set(range(second, 1_000)), second) for second in range(0, 105, 5)]
    assert waits == [True] * 21
    assert not backlog.look(set(range(105, 1_000)), 105)
    assert not backlog.stands


@pytest.mark.parametrize("stands", [False, True])
def test_the_report_tells_what_stands_from_what_is_slow(*, stands: bool):
    waits = forged.a_run(state="enqueued", completed=None)
    verdict = check(forged.evidence(runs=(waits,), left=1, stands=stands))
    text = report.complaints(verdict)
    assert ("1 were not over" in text, "it stands" in text) == (True, stands)
    assert "not over" not in report.complaints(check(forged.evidence(runs=(waits,))))


def test_what_is_asked_for_goes_by_the_weights_of_the_plan(tmp_path: Path, monkeypatch):
    plan = StormPlan("sqlite", weights={**dict.fromkeys(WEIGHTS, 0), "Fan": 3, "Token": 1})
    environment = {
        "STORM_SEED": "7",
        "STORM_RELEASE": "2",
        "STORM_WEIGHTS": json.dumps(dict(plan.weights)),
        "STORM_RECORD": str(tmp_path / "jobs"),
        "STORM_SUBMITTED": str(tmp_path / "submitted"),
        "TARGCC_DATABASE_URL": f"sqlite:///{tmp_path / 'jobs.db'}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    asks = _Submitter(None)
    assert {asks._choose() for _ in WEIGHTS} == WEIGHTS.keys()
    chosen = Counter(asks._choose() for _ in range(400))
    assert chosen.keys() == {"Fan", "Token"}
    assert chosen["Fan"] > 2 * chosen["Token"]
