"""Answers of the API as records: JSON objects whose fields are attributes.

A command that is sent to a server imports neither the schemas of the API nor Pydantic, which take several times as long as the request.
The schemas name the types of the fields for the type checker: ``job: JobOut = await api.get(…)``.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from typing import Any, TypeVar

from .group import AnswerError

INSTANTS = frozenset(
    {
        *("at", "chosen_at", "completed_at", "created_at", "disabled_at", "drain_requested_at"),
        *("due_at", "ended_at", "ends_at", "expires_at", "first_at", "first_seen_at", "full_at"),
        *("handled_at", "happened_at", "heartbeat_at", "last_at", "last_login_at"),
        *(
            "last_seen_at",
            "last_used_at",
            "muted_at",
            "peak_at",
            "planned_at",
            "started_at",
            "starts_at",
            "stopping_at",
        ),
        *("failing_since", "late_since", "since", "stuck_since", "unknown_since", "works_since"),
        *("maintenance_until", "snoozed_until", "until"),
        *("end", "next_run", "now", "oldest_due", "planned", "scheduled_for", "start"),
        *("fires_now", "fires_then", "missing", "next_runs"),
        "day",
    }
)
"""Fields of answers with an instant, a day, or a list of instants. A text of another form in such a field stays a text."""
DEFAULTS: dict[str, Any] = {
    "advice": "",
    "backoff_by_rule": False,
    "bars": (),
    "batch": None,
    "blocks": (),
    "chain": None,
    "clock_offset_ms": None,
    "drain_requested_at": None,
    "drain_requested_by": None,
    "existing": False,
    "fingerprint": None,
    "hash": None,
    "lane": 0,
    "lanes": 1,
    "line": None,
    "marks": (),
    "release": None,
    "role": None,
    "run": None,
    "sentence": "",
    "seq": None,
    "stuck_in": None,
    "stuck_since": None,
}
"""Values of fields that a server of an earlier release does not send."""
T = TypeVar("T")
_DAY = 10
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?")


class Record(dict[str, Any]):
    """JSON object of an answer; ``record.name`` is the field ``name``.

    Raises:
        AnswerError: the answer lacks the field.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            value = self[name]
        except KeyError:
            if name in DEFAULTS:
                return DEFAULTS[name]
            raise unexpected("", f"{name}: Field required") from None
        return _instants(value) if name in INSTANTS else value


def _instants(value: Any) -> Any:
    if isinstance(value, list):
        return [_instants(item) for item in value]
    if not isinstance(value, str) or _INSTANT.fullmatch(value) is None:
        return value
    return date.fromisoformat(value) if len(value) == _DAY else datetime.fromisoformat(value)


def read(content: bytes, where: str, kind: type) -> Any:
    """Parse an answer.

    Args:
        content: Body of the answer.
        where: Dashboard address for messages; empty in this process.
        kind: ``dict``, or ``list`` for a list of objects.

    Raises:
        AnswerError: the answer is no JSON, or of another kind.
    """
    try:
        value = json.loads(content, object_hook=Record)
    except ValueError as error:
        raise unexpected(where, f"Invalid JSON: {error}") from None
    if not isinstance(value, kind):
        raise unexpected(where, "an object is expected" if kind is dict else "a list is expected")
    if isinstance(value, list) and not all(isinstance(item, dict) for item in value):
        raise unexpected(where, "a list of objects is expected")
    return value


def typed(content: bytes, where: str, kind: type[T]) -> T:
    """Parse an answer into a type that Pydantic knows, which imports Pydantic.

    Raises:
        AnswerError: the answer is not of the type.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        value: T = TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise unexpected(where, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return value


def unexpected(where: str, reason: str) -> AnswerError:
    """Return the error for an answer that does not fit this release."""
    return AnswerError(
        f"{where or 'the API'} does not answer as this release expects: {reason}\n"
        "  Use the targcc of the release that the server has."
    )
