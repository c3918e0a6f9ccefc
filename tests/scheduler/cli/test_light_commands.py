"""A command that is sent to a server imports neither the scheduler nor Pydantic; answers are read as records."""

import dataclasses
import inspect
import json
import os
import subprocess
import sys
import typing
from collections.abc import Iterator
from datetime import UTC, date, datetime
from importlib import import_module
from typing import Any

import pytest
from pydantic import BaseModel
from targcc_scheduler.cli.answers import DEFAULTS, INSTANTS, Record, read
from targcc_scheduler.cli.commands import system
from targcc_scheduler.cli.group import AnswerError
from targcc_scheduler.db.dialects.known import SCRIPTS
from targcc_scheduler.features.batches import commands as batches
from targcc_scheduler.features.batches.model import BatchState
from targcc_scheduler.features.events import commands as events
from targcc_scheduler.features.events.model import EVENTS
from targcc_scheduler.features.triage import bulk_actions, bulk_queries
from targcc_scheduler.features.triage import commands as triage

SCHEMAS = (
    "web.api.schema",
    "web.api.schemas",
    "web.api.limit_schemas",
    "kernel.queries.models",
    "kernel.queries.statistics",
    "kernel.queries.system",
    "features.accounts.schemas",
    "features.audit.schemas",
    "features.batches.schemas",
    "features.calendars.schemas",
    "features.events.schemas",
    "features.flows.schemas",
    "features.overrides.schemas",
    "features.timeline.schemas",
    "features.timeline.bars",
    "features.timeline.gantt",
    "features.timeline.history",
    "features.triage.schemas",
)
TEXTS = {"at", "now"}
"""Fields that are an instant in some answers and a text in others: the job ``at`` which a chain stands, the value of an option ``now``."""


def answers() -> Iterator[tuple[str, Any, Any]]:
    """Yield the fields of all answers that commands read: name, type and default; ``...`` is no default."""
    for name in SCHEMAS:
        module = import_module(f"targcc_scheduler.{name}")
        for kind in vars(module).values():
            if not inspect.isclass(kind) or kind.__module__ != module.__name__:
                continue
            if issubclass(kind, BaseModel) and kind.__name__.endswith("Out"):
                for key, field in kind.model_fields.items():
                    missing = field.is_required()
                    default = ... if missing else field.get_default(call_default_factory=True)
                    yield key, field.annotation, default
            elif dataclasses.is_dataclass(kind):
                hints = typing.get_type_hints(kind)
                for part in dataclasses.fields(kind):
                    missing = part.default is dataclasses.MISSING
                    yield part.name, hints[part.name], ... if missing else part.default


def has_instant(kind: Any) -> bool:
    """Return whether a field's type is an instant or a day, perhaps optional or in a list."""
    return "date" in str(kind).lower() and "dict" not in str(kind) and "Counter" not in str(kind)


def test_each_field_with_an_instant_is_read_as_one():
    instants = {name for name, kind, _ in answers() if has_instant(kind)}
    assert instants - INSTANTS == set()


def test_no_field_of_another_type_is_read_as_an_instant():
    texts = {name for name, kind, _ in answers() if not has_instant(kind)}
    assert texts & INSTANTS == TEXTS


def test_a_field_that_an_older_server_lacks_has_the_default_of_the_schema():
    defaults = [(name, default) for name, _, default in answers()]
    assert [item for item in DEFAULTS.items() if item not in defaults] == []


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("due_at", "2026-11-30T08:00:00Z", datetime(2026, 11, 30, 8, tzinfo=UTC)),
        ("due_at", None, None),
        ("day", "2026-11-30", date(2026, 11, 30)),
        ("next_runs", ["2026-11-30T08:00:00Z"], [datetime(2026, 11, 30, 8, tzinfo=UTC)]),
        ("at", "ImportOrders", "ImportOrders"),
        ("description", "2026-11-30T08:00:00Z", "2026-11-30T08:00:00Z"),
        ("arguments", {"at": "2026-11-30"}, {"at": "2026-11-30"}),
    ],
)
def test_a_field_of_an_answer_is_an_attribute(field: str, value: Any, expected: Any):
    record = read(json.dumps({field: value}).encode(), "", dict)
    assert getattr(record, field) == expected
    assert record == {field: value}  # JSON output shows what the server sent


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"Welcome", dict), (b"[]", dict), (b"{}", list), (b"[1]", list), (b"\xff", list)],
)
def test_an_answer_of_another_form_is_refused(content: bytes, kind: type):
    with pytest.raises(AnswerError, match="Use the targcc of the release that the server has"):
        read(content, "https://jobs.example.com", kind)


def test_a_missing_field_is_named():
    with pytest.raises(AnswerError, match="schedule_words: Field required"):
        _ = Record(name="DailyReport").schedule_words


@pytest.mark.parametrize(
    ("choices", "model"),
    [
        (batches.STATES, tuple(BatchState)),
        (events.EVENTS, EVENTS),
        (triage.ACTIONS, bulk_queries.ACTIONS),
        (triage.BACKFILL, bulk_actions.BACKFILL),
        (system.SCRIPTS, SCRIPTS),
    ],
)
def test_the_choices_of_an_option_are_those_of_the_model(choices: Any, model: Any):
    assert choices == model


HEAVY = {"sqlalchemy", "pydantic", "pydantic_core", "fastapi", "alembic", "rich", "trio"}
ALONE = """
import http.server, json, sys, threading
from targcc_scheduler import Project, configure
from targcc_scheduler.cli.main import main

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.partition("?")[0].rpartition("/")[2]
        objects = {"system": {"package": "p", "broken": []}, "runs": {"runs": []},
                   "inbox": {"failures": [], "concerns": []}}
        content = json.dumps(objects.get(name, [])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass

configure(Project(name="p", package="p"))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
loaded = {}
for words in json.loads(sys.argv[1]):
    main(["--server", f"http://127.0.0.1:{server.server_port}", *words], standalone_mode=False)
    loaded[" ".join(words)] = sorted({name.partition(".")[0] for name in sys.modules} & set(json.loads(sys.argv[2])))
print("loaded", json.dumps(loaded))
"""
READING = [
    ["job", "list"],
    ["job", "history"],
    ["run", "list"],
    ["queue", "list"],
    ["server", "list"],
    ["release", "list"],
    ["limits"],
    ["inbox", "list"],
    ["bulk", "list"],
    ["batch", "list"],
    ["flow", "list"],
    ["calendar", "list"],
    ["maintenance", "list"],
    ["webhook", "list"],
    ["override", "list"],
    ["audit"],
    ["user", "list"],
    ["token", "list"],
    ["session", "list"],
]


@pytest.mark.usefixtures("processes")
def test_a_command_at_a_server_imports_no_scheduler():
    command = [sys.executable, "-c", ALONE, json.dumps(READING), json.dumps(sorted(HEAVY))]
    done = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "TARGCC_PROFILES": "none"},
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.rpartition("loaded ")[2])
    assert loaded == {" ".join(words): [] for words in READING}
