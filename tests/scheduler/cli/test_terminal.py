"""Untrusted text reaches a terminal as plain text: no control sequence in the text takes effect."""

import re
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.text import visible
from targcc_scheduler.db.tables import job_audit, job_log_line
from web_fixtures import Site

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\x7f\u202egpj.exe\u2066\r over\x08\x00"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
COMMANDS = [
    ["run", "list"],
    ["run", "show", "1"],
    ["run", "list", "--json"],
    ["run", "show", "1", "--json"],
    ["job", "list"],
    ["job", "info", "DailyReport"],
    ["queue", "list"],
    ["server", "list"],
    ["audit"],
    ["audit", "--json"],
    ["doctor"],
    ["run", "show", f"{HOSTILE}"],
    ["job", "info", f"x{HOSTILE}"],
    ["run", "list", "--job", f"x{HOSTILE}"],
    ["queue", "pause", f"x{HOSTILE}"],
]


async def test_no_control_character_of_a_stranger_reaches_the_terminal(
    site: Site, settings, monkeypatch
):
    text = HOSTILE.replace("\x00", "")
    run_id = await site.add_run(
        "DailyReport", "failed", Message=text, TriggeredBy=text, Queue=f"q{text}"[:50],
        LifeLog=f"2026-11-25T00:00:00Z failed {text}",
    )  # fmt: skip
    await site.add_attempt(
        "DailyReport", run_id, ErrorMessage=text, StackTrace=f"a\n{text}", ServerName=text, Success=False
    )  # fmt: skip
    at = datetime(2026, 11, 25, tzinfo=UTC)
    line = {"RunId": run_id, "Attempt": 1, "At": at, "Level": "info", "Message": text}
    await site.change(lambda db: db.execute(job_log_line.insert().values(line)))
    event = {"At": at, "Actor": text, "Action": text[:30], "Detail": text}
    event["RemoteAddress"] = text[:40]
    await site.change(lambda db: db.execute(job_audit.insert().values(event)))
    monkeypatch.setenv("TARGCC_DATABASE_URL", settings.database_url)
    shown, seen = [], ""
    import asyncio

    for command in COMMANDS:
        result = await asyncio.to_thread(CliRunner().invoke, main, command)
        seen += result.output + result.stderr
        if OBEYED.search(result.output + result.stderr):
            shown.append((command, result.output[:400]))
    assert shown == []
    assert seen.count("␛") > 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\nb\tc\r\n", "a␊b␉c␍␊"),
        ("\x7f\x9b", "␡<U+009B>"),
        ("\u202e", "<U+202E>"),
        ("שלום ✓ é 👩‍👩‍👧", "שלום ✓ é 👩‍👩‍👧"),
        ("\ud800", "<U+D800>"),
    ],
)
def test_what_is_obeyed_is_shown(text, said):
    assert visible(text) == said


def test_lines_stay_lines():
    assert visible("a\r\nb\rc\n\td", lines=True) == "a\nb␍c\n\td"
