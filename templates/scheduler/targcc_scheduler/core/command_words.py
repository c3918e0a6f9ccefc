"""Words of a command line: other names of commands, near spellings, and the way out of a usage error.

Both programs follow one rule. An expected word, such as ``jobs`` or ``ls``, runs the command it stands for, and the command is named on the error stream.
A misspelt word runs nothing: the error names the nearest command. Imported on first use, after an error or for an unknown word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .text import closest

if TYPE_CHECKING:
    import click

_SAME: tuple[tuple[str, ...], ...] = (
    ("list", "ls"),
    ("show", "info", "get", "describe"),
    ("create", "add", "new"),
    ("remove", "rm", "delete", "del", "revoke"),
    ("log", "logs"),
    ("run", "start", "trigger", "enqueue"),
    ("pause", "disable"),
    ("resume", "enable", "unpause"),
    ("cancel", "stop", "kill"),
    ("retry", "rerun"),
)
"""Words for the same action; a group of commands has one word of each row."""

OF_PROJECT = (
    *("serve", "worker", "migrate", "run", "server", "inbox", "upcoming", "queue", "user", "token"),
    *("flow", "batch", "why", "profile"),
)
"""Commands of a project's `targcc` that people look for in `targcc-gen`."""
OF_GENERATOR = (
    *("new", "import-legacy", "patch", "demo", "regenerate", "pull", "restore", "eject"),
    *("blueprints", "cron", "schema", "scheduler"),
)
"""Commands of `targcc-gen` that people look for in `targcc`."""

_CRON_OPTIONS = {"cron": "--cron ", "schedule": "--schedule ", "expression": ""}
_CRON_FIELD = re.compile(r"[\d*?/,LW#-]+|(?:[A-Z]{3}[,-]?)+", re.IGNORECASE)
_CRON_LENGTHS = (5, 6)
_NIGHTLY = "0 2 * * *"
_EXTRA = re.compile(r"Got unexpected extra arguments? \((.*)\)", re.DOTALL)
_CHOICE = re.compile(r"'(.*)' is not one of (.*)\.", re.DOTALL)
_CLOCK = re.compile(r"\d?\d:\d\d")


def same_command(word: str, names: Iterable[str]) -> str | None:
    """Return the command that a word stands for: its singular or plural, its other case, or a word for the same action."""
    known = {name.lower(): name for name in names}
    folded = word.lower().replace("_", "-")
    plural = "" if folded.endswith(("s", "u")) else f"{folded}s"  # `statu` is a misspelt `status`
    for spelling in (folded, plural, folded.removesuffix("s"), folded.removesuffix("es")):
        if spelling in known:
            return known[spelling]
    row = next((row for row in _SAME if folded in row), ())
    return next((known[name] for name in row if name in known), None)


def nearest(word: str, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the name closest to a word in any case; ``None`` if no name is close."""
    known = {name.lower(): name for name in names}
    close = closest(word.lower(), known, cutoff=cutoff)
    return known[close] if close is not None else None


def did_you_mean(word: str, names: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return ``: did you mean 'list'?`` for the name closest to a word; empty if no name is close."""
    name = nearest(word, names, cutoff=cutoff)
    return f": did you mean {name!r}?" if name is not None else ""


def with_way_out(error: click.ClickException, hints: Mapping[str, str]) -> str:
    """Return the message of an error with the next step.

    Args:
        error: An error that click or a command raised.
        hints: Next step for a wrong value, by the name of its parameter.
    """
    import click

    message = error.message
    if isinstance(error, click.NoSuchOption):
        _keep_near(error)
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return message
    if extra := _EXTRA.search(message):
        return _joined(extra[1], error.ctx) or f"{message}{_example(error.ctx)}"
    if isinstance(error, click.MissingParameter):
        return f"{message} {_example(error.ctx).strip()}".strip()
    if choice := _CHOICE.search(message):
        near = nearest(choice[1], re.findall(r"'([^']*)'", choice[2]), cutoff=0.5)
        return f"{message} Did you mean {near!r}?" if near else message
    parameter = getattr(error, "param", None)
    hint = hints.get(getattr(parameter, "name", None) or "", "")
    if not hint and message.endswith(" is a file."):
        hint = "Name a folder."
    return f"{message}\n  {hint}" if hint else message


def _keep_near(error: click.NoSuchOption) -> None:
    """Keep only suggestions that share the beginning of the option or most of its letters: click also takes far ones."""
    option = error.option_name
    close = [name for name in error.possibilities or () if nearest(option, [name], cutoff=0.7)]
    error.possibilities = close or None  # type: ignore[misc]  # final for those who catch it


def _joined(extra: str, context: click.Context) -> str | None:
    """Return the error for a value of several words that the command line does not quote; ``None`` for other words."""
    values: dict[str, Any] = context.params
    for name, option in _CRON_OPTIONS.items():
        field = values.get(name)
        if isinstance(field, str) and _CRON_FIELD.fullmatch(field):
            fields = [field, *extra.split()]
            whole = len(fields) in _CRON_LENGTHS and all(map(_CRON_FIELD.fullmatch, fields))
            text = " ".join(fields) if whole else _NIGHTLY
            return f'quote the cron expression, because the shell splits it and replaces * by file names: {option}"{text}"'
    zone = values.get("timezone")
    if isinstance(zone, str) and extra.endswith("Time"):
        return f'quote the time zone: --timezone "{zone} {extra}"'
    if _CLOCK.match(extra):
        return f"write date and time as one word, such as 2026-12-31T02:00; {extra} stands alone"
    return None


def _example(context: click.Context) -> str:
    """Return the first example in the help of a command, on a line of its own; empty if the help has none."""
    lines = (context.command.help or "").splitlines()
    start = next((place for place, line in enumerate(lines) if line.strip() == "Example:"), None)
    return f"\n  Example: {lines[start + 1].strip()}" if start is not None else ""
