"""Unique runs: parse the options, and compute a run's unique key."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias, get_args

from pydantic_core import to_jsonable_python

from ...core.errors import JobError
from ...core.text import clean, visible
from ...schedules.errors import CronError
from ...schedules.words import format_duration, parse_duration
from .arguments import Parameters

KeyFunction: TypeAlias = Callable[..., Any]
"""A function that gets a run's arguments by name and returns the unique key as a value that JSON can hold; ``None``: the run has no key."""
UniqueBy: TypeAlias = "str | tuple[str, ...] | Literal[True] | KeyFunction"
Duplicate = Literal["skip", "replace", "debounce", "throttle"]

QUEUED, RUNNING = "queued", "running"
_READABLE = 130
"""Maximum characters, in a key, of the arguments after the digest."""
_TIMED = ("debounce", "throttle")


@dataclass(frozen=True)
class Unique:
    """The rule that makes a job's runs unique.

    Args:
        by: The arguments that make up the key; empty for all arguments.
        function: The key function, instead of ``by``.
        scope: How long a run keeps its key: ``queued`` until the run starts, ``running`` until the run ends.
        window: The additional time that a successful run keeps its key.
        duplicate: The policy for another run with the same key.
        wait: The duration for ``debounce`` or ``throttle``.
    """

    by: tuple[str, ...] = ()
    function: KeyFunction | None = None
    scope: str = RUNNING
    window: timedelta = timedelta()
    duplicate: Duplicate = "skip"
    wait: timedelta = timedelta()

    def __str__(self) -> str:
        by = "a key function" if self.function else ", ".join(self.by) or "all arguments"
        until = f"{format_duration(self.window)} after success" if self.window else self.scope
        wait = f" {format_duration(self.wait)}" if self.wait else ""
        return f"by {by} ({until}): {self.duplicate}{wait}"

    def key(self, signature: Parameters, arguments_json: str | None) -> str | None:
        """Return a run's unique key: a digest over the key's arguments, followed by these arguments if none is secret.

        Args:
            signature: The job's parameters.
            arguments_json: The run's arguments, as :meth:`.arguments.Parameters.check` returns them.

        Returns:
            The key; ``None`` if the key function returns ``None``.

        Raises:
            JobError: The key function returns a value that JSON cannot hold.
        """
        made: Any
        if self.function is not None:
            made = self.function(**signature.load(arguments_json))
            if made is None:
                return None
            try:
                made = to_jsonable_python(made)
            except ValueError as error:
                raise JobError(f"unique: the key function returns no JSON: {error}") from None
            secret = bool(signature.secrets)
        else:
            found = signature.plain(arguments_json)
            made = {name: found[name] for name in self.by} if self.by else found
            secret = not signature.secrets.isdisjoint(made)
        digest = digest_of(made)
        return digest if secret else f"{digest} {_readable(made)}"


def digest_of(value: Any) -> str:
    """Hash a value's JSON with SHA-256, with sorted object names, in hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _readable(made: Any) -> str:
    if isinstance(made, Mapping):
        text = ", ".join(f"{name}={json.dumps(made[name], ensure_ascii=False)}" for name in made)
    else:
        text = json.dumps(made, ensure_ascii=False)
    return clean(visible(text)[:_READABLE])


def unique_of(
    key: str,
    target: Callable[..., Any],
    by: UniqueBy | None,
    scope: str | timedelta | None,
    on_duplicate: str | None,
    *,
    recurs: bool,
) -> Unique | None:
    """Parse the options for unique runs; return ``None`` for a job without ``unique``.

    Args:
        key: The job's name.
        target: The job's class or function.
        by: The option ``unique``.
        scope: The option ``unique_scope``.
        on_duplicate: The option ``on_duplicate``.
        recurs: Whether the job has a schedule.

    Raises:
        JobError: The options contradict each other, or the job has no argument with a name in ``unique``.
    """
    if by is None:
        if scope is not None or on_duplicate is not None:
            raise JobError(f"{key}: unique_scope and on_duplicate belong to unique")
        return None
    duplicate, wait = _duplicate(key, on_duplicate or "skip")
    if recurs and duplicate in _TIMED:
        raise JobError(f"{key}: {duplicate} is for jobs without a schedule")
    if scope is not None and duplicate in _TIMED:
        raise JobError(f"{key}: {duplicate} has no unique_scope: a run has its key until it starts")
    until, window = _scope(key, scope, RUNNING if duplicate == "skip" else QUEUED)
    names, function = ((), by) if callable(by) else (_names(key, target, by), None)
    return Unique(names, function, until, window, duplicate, wait)


def _names(key: str, target: Callable[..., Any], by: object) -> tuple[str, ...]:
    if by is True:
        return ()
    names = (by,) if isinstance(by, str) else by
    if not isinstance(names, tuple | list) or not names:
        raise JobError(f"{key}: unique is an argument's name, a tuple of them, True or a function")
    known = inspect.signature(getattr(target, "execute", target)).parameters
    if unknown := [name for name in names if name not in known]:
        raise JobError(f"{key}: unique: it has no argument {unknown[0]!r}")
    return tuple(names)


def _scope(key: str, scope: str | timedelta | None, usual: str) -> tuple[str, timedelta]:
    if scope is None or scope in {QUEUED, RUNNING}:
        return str(scope or usual), timedelta()
    return RUNNING, _duration(key, "unique_scope is queued, running or a duration", scope)


def _duplicate(key: str, text: str) -> tuple[Duplicate, timedelta]:
    words = text.split()
    for kind in get_args(Duplicate):
        if words[:1] == [kind] and len(words) == 1 + (kind in _TIMED):
            wait = _duration(key, f"on_duplicate: {kind}", words[1]) if words[1:] else timedelta()
            return kind, wait
    raise JobError(
        f"{key}: on_duplicate is skip, replace, 'debounce 30s' or 'throttle 1m', not {text!r}"
    )


def _duration(key: str, what: str, value: str | timedelta) -> timedelta:
    try:
        found = parse_duration(value) if isinstance(value, str) else value
    except CronError as error:
        raise JobError(f"{key}: {what}: {error}") from None
    if found <= timedelta():
        raise JobError(f"{key}: {what}: more than 0")
    return found
