"""Rename the key of a job in a spec's text, and validate `moved`."""

import pytest
from targcc_gen.errors import InputError
from targcc_gen.spec import dump_spec, parse_spec, remove_job, rename_job
from targcc_gen.spec.errors import SpecErrors

PLAIN = """\
targcc: 1
project: {name: acme-jobs}
jobs:
  # of the shop
  "Sales":   # for the managers
    cron: "0 2 * * *"
  Other: {type: manual}
"""
BRACES = '{"targcc": 1, "project": {"name": "acme-jobs"}, "jobs": {"Sales": {"type": "manual"}}}'


def test_the_key_alone_changes_and_moved_says_so():
    text = rename_job(PLAIN, "Sales", "Revenue")
    assert text == PLAIN.replace('"Sales":', '"Revenue":') + "\nmoved:\n  Sales: Revenue\n"
    again = rename_job(text, "Revenue", "Income")
    assert again.endswith("moved:\n  Sales: Revenue\n  Revenue: Income\n")
    assert parse_spec(again).earlier_names("Income") == ("Revenue", "Sales")
    assert parse_spec(dump_spec(parse_spec(again))) == parse_spec(again)


@pytest.mark.parametrize(
    "text", [PLAIN.replace("\n", "\r\n"), "\ufeff" + PLAIN, PLAIN.rstrip("\n"), BRACES]
)
def test_it_keeps_the_form_of_the_file(text):
    renamed = rename_job(text, "Sales", "Revenue")
    assert parse_spec(renamed).moved == {"Sales": "Revenue"}
    assert renamed.count("\r\n") in {0, renamed.count("\n")}
    assert renamed.startswith("\ufeff") == text.startswith("\ufeff")


def test_a_name_that_comes_back_is_no_old_one():
    text = rename_job(rename_job(PLAIN, "Sales", "Revenue"), "Revenue", "Sales")
    assert parse_spec(text).moved == {"Revenue": "Sales"}


def test_a_job_that_goes_takes_its_old_names_along():
    text = rename_job(PLAIN, "Sales", "Revenue")
    assert "moved" not in remove_job(text, "Revenue")
    braces = PLAIN.replace("jobs:", "moved: {Was: Other, Gone: Sales}\njobs:")
    with pytest.raises(InputError, match="job Other cannot be removed"):
        remove_job(braces, "Other")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("moved: {Sales: Other}", ":8:9: error: there is a job Sales"),
        ("moved: {Gone: Nothing}", ":8:15: error: no job Nothing"),
        ("moved: {A: B, B: A}", ":8:12: error: A was renamed to itself"),
        ("moved: {Gone: [Sales]}", ":8:15: error"),
    ],
)
def test_what_moved_says_wrong_is_shown_where_it_stands(line, message):
    with pytest.raises(SpecErrors) as raised:
        parse_spec(f"{PLAIN}{line}\n")
    assert f"targcc.yaml{message}" in str(raised.value)


def test_moved_may_be_empty():
    assert parse_spec(f"{PLAIN}moved:\n").moved == {}


def test_environments_know_it_by_the_new_name():
    text = f"{PLAIN}environments:\n  staging:\n    jobs:\n      Sales: {{paused: true}}\n"
    renamed = rename_job(text, "Sales", "Revenue")
    assert list(parse_spec(renamed).environments["staging"].jobs) == ["Revenue"]
