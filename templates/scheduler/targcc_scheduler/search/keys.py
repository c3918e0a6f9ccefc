"""The keys that a search knows, with an example of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """A key.

    Args:
        example: A value of it.
        meaning: What it finds.
    """

    example: str
    meaning: str


KEYS = {
    "job": Key("Daily*", "of this job, by its name or the one that is shown"),
    "state": Key("failed", "in this state"),
    "since": Key("yesterday", "created then or later: 12h, 7d, today, monday, 2026-12-31, 2026-12-31T08:00"),
    "until": Key("monday", "created before that; a day counts to its end"),
    "took": Key(">5m", "ran longer, or with < shorter"),
    "queue": Key("critical", "in this queue"),
    "node": Key("web-2", "performed by this node"),
    "by": Key("dana", "started by this person, program or part of the scheduler"),
    "arg": Key("42", "arg.customer:42: with this argument"),
    "cause": Key("3f2504e04f8911d3", "failed of this cause, one of the inbox"),
    "is": Key("open", "waits in the inbox for a person"),
    "run": Key("1234", "this run"),
    "batch": Key("12", "of this batch, but not of those in it; or of this flow"),
}  # fmt: skip
"""What can stand before a colon. All else is looked for in the job's name, message, arguments and who started it."""

KNOWN = ", ".join(f"{name}.NAME" if name == "arg" else name for name in KEYS)
"""The keys, for sentences."""
