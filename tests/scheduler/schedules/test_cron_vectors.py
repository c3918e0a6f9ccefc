"""The 823 test cases of Cronos, Hangfire's parser, give the same results.

A test covers all cases of a kind and names the failing cases: one test per case would cost more than the cases.
"""

import json
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest
from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.errors import CronError

VECTORS = Path(__file__).parent / "data" / "vectors.jsonl"
CASES = [json.loads(line) for line in VECTORS.read_text("utf-8").splitlines()]
INVALID = [case for case in CASES if case["expected"] == "ERROR"]
VALID = sorted((case for case in CASES if case["expected"] != "ERROR"), key=itemgetter("category"))
KINDS = {kind: list(cases) for kind, cases in groupby(VALID, key=itemgetter("category"))}

of_each_kind = pytest.mark.parametrize("cases", KINDS.values(), ids=KINDS)


def test_every_case_is_there():
    assert (len(INVALID), len(VALID), len(KINDS)) == (198, 625, 14)


def test_what_cronos_refuses_is_refused():
    for case in INVALID:
        with pytest.raises(CronError):
            pytest.fail(f"{case}: {CronSchedule.parse(case['expr'])}")


@of_each_kind
def test_the_next_run_is_the_one_cronos_finds(cases):
    for case in cases:
        schedule = CronSchedule.parse(case["expr"])
        next_run = schedule.next(
            datetime.fromisoformat(case["from"]), case["tz"], inclusive=case["inclusive"]
        )
        expected = case["expected"] and datetime.fromisoformat(case["expected"])
        assert next_run == expected, case
        assert not next_run or next_run.utcoffset() == expected.utcoffset(), case


@of_each_kind
def test_the_normal_form_is_the_same_schedule(cases):
    for case in cases:
        schedule = CronSchedule.parse(case["expr"])
        again = CronSchedule.parse(schedule.normal)
        assert again == schedule, case
        assert hash(again) == hash(schedule), case
        assert again.normal == schedule.normal, case


@of_each_kind
def test_every_expression_can_be_said_in_words(cases):
    for case in cases:
        words = CronSchedule.parse(case["expr"]).describe()
        assert words == words.strip(), case
        assert "  " not in words, case
