"""The 823 cases that Cronos, the parser in Hangfire, answers: ours are the same answers."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from targcc_scheduler.schedules import CronError, CronSchedule

VECTORS = Path(__file__).parent / "data" / "vectors.jsonl"
CASES = [json.loads(line) for line in VECTORS.read_text("utf-8").splitlines()]
INVALID = [case for case in CASES if case["expected"] == "ERROR"]
VALID = [case for case in CASES if case["expected"] != "ERROR"]


def name(case):
    return f"{case['category']}:{case['expr']}:{case['from']}"


def test_every_case_is_there():
    assert (len(INVALID), len(VALID)) == (198, 625)


@pytest.mark.parametrize("case", INVALID, ids=name)
def test_what_cronos_refuses_is_refused(case):
    with pytest.raises(CronError):
        CronSchedule.parse(case["expr"])


@pytest.mark.parametrize("case", VALID, ids=name)
def test_the_next_run_is_the_one_cronos_finds(case):
    schedule = CronSchedule.parse(case["expr"])
    found = schedule.next(
        datetime.fromisoformat(case["from"]), case["tz"], inclusive=case["inclusive"]
    )
    expected = case["expected"] and datetime.fromisoformat(case["expected"])
    assert found == expected
    assert not found or found.utcoffset() == expected.utcoffset()


@pytest.mark.parametrize("case", VALID, ids=name)
def test_the_normal_form_is_the_same_schedule(case):
    schedule = CronSchedule.parse(case["expr"])
    again = CronSchedule.parse(schedule.normal)
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again.normal == schedule.normal


@pytest.mark.parametrize("case", VALID, ids=name)
def test_every_expression_can_be_said_in_words(case):
    words = CronSchedule.parse(case["expr"]).describe()
    assert words == words.strip()
    assert "  " not in words
