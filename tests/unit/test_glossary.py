"""The glossary's tables of states equal the states in the code."""

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from targcc_scheduler.core.humanize import STATE_WORDS
from targcc_scheduler.core.languages import FOLDER, messages
from targcc_scheduler.core.search_language import parse
from targcc_scheduler.core.states import FINAL, TRANSITIONS, RunState
from targcc_scheduler.features.batches.model import BatchState
from targcc_scheduler.features.flows.graph import StepState
from targcc_scheduler.kernel.job_owner import Owner

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "glossary.md").read_text(encoding="utf-8")
TERMS = [
    *("job", "slot", "run", "attempt", "schedule", "queue", "pool", "batch", "flow", "chain"),
    *("limit", "key", "release", "server"),
]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without the head row."""
    table = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def test_every_term_that_readers_meet_is_explained():
    explained = {row[0].strip("*") for row in rows("Terms")}
    assert set(TERMS) - explained == set()


def test_each_state_of_a_run_stands_with_the_states_that_may_follow():
    shown = {row[0].strip("`"): names(row[2]) for row in rows("States of a run")}
    assert shown == {
        state.value: {following.value for following in TRANSITIONS[state]} for state in RunState
    }


@pytest.mark.parametrize("state", RunState)
def test_pages_and_searches_call_a_state_by_its_name(state):
    assert str(STATE_WORDS[state]) == state.value
    [term] = parse(f"state:{STATE_WORDS[state]}", zone=ZoneInfo("UTC"), now=datetime.now(UTC)).terms
    assert term.values == (state,)


def test_the_final_states_are_named():
    [sentence] = re.findall(r"^.* are final: a retry", PAGE, re.MULTILINE)
    assert names(sentence.rpartition(". ")[2]) == {state.value for state in FINAL}


@pytest.mark.parametrize(
    ("thing", "states"),
    [
        ("batch", BatchState),
        ("flow", BatchState),
        ("step of a flow", StepState),
        ("owner of a job in a cut-over", Owner),
    ],
)
def test_the_states_of_other_things(thing, states):
    [row] = [row for row in rows("States of other things") if row[0] == thing]
    assert names(row[1]) == {state.value for state in states}


HEBREW = {
    "alert": "התרע",
    "attempt": "ניסיו",
    "batch(?:es)?": "אצו",
    "calendar": "לוח(?:ות)? ה?שנה",
    "chain": "שרשר",
    "failure": "כשל",
    "flow": "תזרי",
    "job": "משימ",
    "key": "מפתח",
    "limit": "מגבל|אפשר לשמור עד",
    "owner": "בעלים",
    "pool": "מאגר",
    "priority": "עדיפות",
    "queue": "תור",
    "release": "מהדור",
    "retry": "ניסיון ה?חוזר",
    "role": "תפקיד",
    "schedule": "לוח(?:ות)? ה?זמנים",
    "server": "שרת",
    "session": "חיבור",
    "slot": "מועד",
    "step": "שלב",
    "token": "אסימו",
    "window": "חלו",
    "worker": "עובד",
    "(?:the|this|earlier|waiting|open|recent|other|current) run": "ריצ|נתבקש|התבקש",
}
"""The Hebrew term for each English term, as a pattern."""
NO_TERM = re.compile(r"<code>.*?</code>|%\(\w+\)s|<[^>]*>|\w+:\S+|c_\w+|targcc[ \w-]+")
"""Parts of a text that name no term: code, placeholders, markup, searches."""


@pytest.mark.parametrize("term", HEBREW)
def test_a_term_has_the_same_word_everywhere_in_hebrew(term):
    other: dict[str, list[str]] = {}
    for key, forms in messages((FOLDER / "he.po").read_text(encoding="utf-8")):
        english = NO_TERM.sub(" ", key.rpartition("\4")[2])
        if re.search(rf"\b(?:{term})s?\b", english, re.IGNORECASE):
            other[key] = [form for form in forms if not re.search(HEBREW[term], form)]
    assert {key: forms for key, forms in other.items() if forms} == {}
