"""Audit entries are sentences with actor, act, object and place: the same on pages, in the API and at the command line."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import targcc_scheduler
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.core.languages import Reader, catalogue, reading
from targcc_scheduler.features.triage.bulk_queries import ACTIONS, CAN_BE_UNDONE
from targcc_scheduler.kernel.audit_sentences import (
    describe,
    describe_linked,
    rest,
    sentence,
)
from targcc_scheduler.operations import pause_queue
from web_fixtures import Site

PACKAGE = Path(targcc_scheduler.__file__).parent
WRITERS = {"audit": 2, "audit_audit": 2, "audited": 0, "note": 3}
"""Functions that write audit rows, with the position of the action among the arguments."""
CALLS = re.compile(rf"\b({'|'.join(WRITERS)})\(")


@dataclass
class Row:
    actor: str
    action: str
    job: str | None = None
    run_id: int | None = None
    detail: str | None = None


@pytest.mark.parametrize(
    ("row", "text", "remaining"),
    [
        (
            Row("API (night)", "pause queue", detail="queue mail; disk full"),
            "night paused queue mail through the API",
            "disk full",
        ),
        (
            Row("Manual (dana)", "trigger", "DailyReport", 12),
            "dana started run 12 of job DailyReport on the dashboard",
            "",
        ),
        (
            Row("CLI (root)", "drain", detail="server web-1:814"),
            "root drained server web-1:814 at the command line",
            "",
        ),
        (
            Row("System", "alert-failed", "Tax", 3, "refused"),
            "the scheduler could not send an alert about run 3 of job Tax",
            "refused",
        ),
        (
            Row("CLI (root)", "create token", detail="ci as operator"),
            "root created token ci at the command line",
            "operator",
        ),
        (
            Row("Manual (dana)", "acknowledge", "Tax", detail="failure a795; known"),
            "dana acknowledged failure a795 of job Tax on the dashboard",
            "known",
        ),
        (Row("Manual (dana)", "sign in"), "dana signed in on the dashboard", ""),
        (Row("Host (x)", "act of later", "Tax"), "x: act of later, job Tax", ""),
    ],
)
def test_an_entry_names_actor_act_object_and_place(row, text, remaining):
    assert (sentence(row), rest(row)) == (text, remaining)


def test_an_entry_on_a_hebrew_page_is_hebrew():
    row = Row("API (night)", "pause queue", detail="queue mail")
    with reading(Reader(catalogue("he"))):
        assert str(describe_linked(row, "/jobs", str)) == (
            "השהיית התור <b><bdi>mail</bdi></b> על ידי <bdi>night</bdi> דרך ה־API"
        )
        assert "paused" not in describe(row).text
        assert sentence(row) == "night paused queue mail through the API"


def test_names_in_an_entry_are_escaped():
    row = Row("Manual (<i>)", "trigger", "<b>", 1)
    text = str(describe_linked(row, "/jobs", str))
    assert "<i>" not in text
    assert "<bdi><b></bdi>" not in text


def actions_in_the_code() -> set[str]:
    """Return the constant actions of the calls that write audit rows."""
    actions = set()
    texts = (file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
    for text in filter(CALLS.search, texts):
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            at = WRITERS.get(ast.unparse(node.func).rpartition(".")[2])
            if at is None or len(node.args) <= at:
                continue
            action = node.args[at]
            if isinstance(action, ast.Constant) and isinstance(action.value, str):
                actions.add(action.value)
    return actions


def test_every_action_has_a_sentence():
    actions = actions_in_the_code() | {f"bulk {name}" for name in ACTIONS}
    assert {"trigger", "create token", "sign in"} <= actions
    actions |= {f"undo {name}" for name in CAN_BE_UNDONE}
    unknown = {action for action in actions if sentence(Row("API (x)", action)).startswith("x:")}
    assert unknown == set()


async def test_page_and_api_show_the_same_sentence(site: Site):
    night = Actor(ActorKind.API, "night")
    await site.scheduler.operate(pause_queue, None, "default", night, reason=None, until=None)
    program = await site.program()
    [entry] = (await program.get("/api/audit", params={"action": "pause queue"})).json()
    assert entry["sentence"] == "night paused queue default through the API"
    viewer = await site.user("viewer")
    text = "<bdi>night</bdi> paused queue <b><bdi>default</bdi></b> through the API"
    for path in ("/jobs/audit", "/jobs"):
        assert text in await viewer.page(path)
