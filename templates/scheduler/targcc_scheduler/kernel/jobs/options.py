"""Options of ``@job`` that give a run its keys: ``limit`` and ``unique``."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from pydantic_core import to_jsonable_python

from ...core.errors import ArgumentsError, JobError
from ...core.text import clean, visible
from ...schedules.errors import CronError
from ...schedules.words import format_duration, parse_duration
from .arguments import Parameters

# Limits by key: parse the option ``limit``, and compute a run's key and policy.

# Limits by key: maximum concurrent runs, and a rate for starts, for each tenant, account or job.

LimitBy: TypeAlias = "str | Callable[..., Any]"
_RATE = re.compile(r"([1-9]\d{0,8})\s*/\s*(s|min|h|d)")
_MILLISECONDS = {"s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_READABLE = 60


class LimitOptions(TypedDict, total=False):
    """The job option ``limit``; set ``running``, ``rate`` or both."""

    key: LimitBy
    """The argument whose value is the key, or a function that gets the arguments by name and returns the key. Runs with the same key share a
    limit. Without ``key``, all the job's runs share a limit."""
    running: int
    """Maximum concurrent runs with the same key, on all nodes together; with ``weight``, the maximum total weight."""
    rate: str
    """The rate at which attempts with the same key may start, such as ``100/min``, ``5/s`` or ``1000/h``."""
    burst: int
    """With ``rate``: the attempts that may start at once after a pause. Default: the number for a second, at least 1."""
    weight: int
    """The share that a run takes from ``running``. Default: 1."""


@dataclass(frozen=True)
class KeyedLimit:
    """A job's limit by key, checked; see :class:`LimitOptions`.

    Args:
        key: The argument or the function that returns the key; ``None``: all the job's runs share a key.
        running: Maximum total weight for concurrent runs with the same key; ``None`` is no limit.
        rate: The rate as it was written; ``None`` without a rate.
        interval_ms: The milliseconds between two tokens; an attempt takes a token to start.
        burst: Maximum saved tokens.
        weight: A run's weight.
    """

    key: LimitBy | None = None
    running: int | None = None
    rate: str | None = None
    interval_ms: float | None = None
    burst: int | None = None
    weight: int = 1

    def __str__(self) -> str:
        by = self.key if isinstance(self.key, str) else "a key function"
        whose = f"by {by}" if self.key else "of the whole job"
        running = None if self.running is None else f"{self.running} at once"
        rate = None if self.rate is None else f"{self.rate} (burst {self.burst})"
        weight = None if self.weight == 1 else f"a run weighs {self.weight}"
        return f"{whose}: {', '.join(part for part in (running, rate, weight) if part)}"

    def key_of(self, job: str, signature: Parameters, arguments_json: str | None) -> str:
        """Return a run's limit key: the job's name, then the key's value; a digest replaces a long or secret value.

        Raises:
            ArgumentsError: The key function failed.
        """
        if self.key is None:
            return job
        arguments = signature.load(arguments_json)
        if isinstance(self.key, str):
            value, secret = arguments[self.key], self.key in signature.secrets
            name = self.key
        else:
            try:
                value = self.key(**arguments)
            except Exception as error:
                raise ArgumentsError(f"the key of its limit cannot be made: {error}") from error
            name, secret = "key", bool(signature.secrets)
        text = json.loads(arguments_json or "{}").get(name, value) if not secret else _plain(value)
        shown = clean(str(text))
        if secret or len(shown) > _READABLE:
            shown = hashlib.sha256(str(text).encode()).hexdigest()[:32]
        return f"{job} {name[:30]}={shown}"


def _plain(value: Any) -> str:
    reveal = getattr(value, "get_secret_value", None)
    return str(reveal() if reveal is not None else value)


def limit_of(key: str, target: Callable[..., Any], given: LimitOptions | None) -> KeyedLimit | None:
    """Parse the job option ``limit``; return ``None`` for a job without the option.

    Args:
        key: The job's name.
        target: The job's class or function.
        given: The option's value.

    Raises:
        JobError: The option cannot be parsed, or the job has no argument with the name in ``key``.
    """
    if given is None:
        return None
    _check(key, target, given)
    by, running, rate = given.get("key"), given.get("running"), given.get("rate")
    weight = given.get("weight", 1)
    if rate is None:
        return KeyedLimit(by, running, weight=weight)
    interval = _interval(key, rate)
    burst = given.get("burst", max(1, math.ceil(1_000 / interval)))
    return KeyedLimit(by, running, rate, interval, burst, weight)


def _check(key: str, target: Callable[..., Any], given: LimitOptions) -> None:
    known = LimitOptions.__annotations__
    if unknown := sorted(given.keys() - known.keys()):
        raise JobError(f"{key}: limit has no {unknown[0]!r}: {', '.join(known)}")
    for name in ("running", "burst", "weight"):
        number = given.get(name)
        if number is not None and (not isinstance(number, int) or number < 1):
            raise JobError(f"{key}: limit: {name} is a number from 1, not {number!r}")
    _check_together(key, given)
    by = given.get("key")
    if isinstance(by, str):
        if by not in inspect.signature(getattr(target, "execute", target)).parameters:
            raise JobError(f"{key}: limit: it has no argument {by!r}")
    elif by is not None and not callable(by):
        raise JobError(f"{key}: limit: key is an argument's name or a function")


def _check_together(key: str, given: LimitOptions) -> None:
    running, rate, weight = given.get("running"), given.get("rate"), given.get("weight", 1)
    if running is None and rate is None:
        raise JobError(f"{key}: limit says running, rate or both")
    if running is not None and weight > running:
        raise JobError(f"{key}: limit: a run of weight {weight} has no room under {running}")
    if rate is None and "burst" in given:
        raise JobError(f"{key}: limit: burst belongs to rate")


def _interval(key: str, rate: str) -> float:
    match = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    if match is None:
        raise JobError(f"{key}: limit: rate is such as 100/min, 5/s or 1000/h, not {rate!r}")
    return _MILLISECONDS[match[2]] / int(match[1])


# A job's limit policy, as stored in each key's row.


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """A job's limit policy, which applies to each key.

    Args:
        most: Maximum total weight for concurrent runs with the same key; ``None`` is no limit.
        interval_ms: The milliseconds between two tokens; ``None`` without a rate.
        burst: Maximum saved tokens.
    """

    most: int | None = None
    interval_ms: float | None = None
    burst: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The policy as ``c_JobLimit`` columns."""
        return {"Most": self.most, "IntervalMs": self.interval_ms, "Burst": self.burst}


# Unique runs: parse the options, and compute a run's unique key.

KeyFunction: TypeAlias = Callable[..., Any]
"""A function that gets a run's arguments by name and returns the unique key as a value that JSON can hold; ``None``: the run has no key."""
UniqueBy: TypeAlias = "str | tuple[str, ...] | Literal[True] | KeyFunction"
Duplicate = Literal["skip", "replace", "debounce", "throttle"]

QUEUED, RUNNING = "queued", "running"
_READABLE_KEY = 130
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
            arguments = signature.plain(arguments_json)
            made = {name: arguments[name] for name in self.by} if self.by else arguments
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
    return clean(visible(text)[:_READABLE_KEY])


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
        duration = parse_duration(value) if isinstance(value, str) else value
    except CronError as error:
        raise JobError(f"{key}: {what}: {error}") from None
    if duration <= timedelta():
        raise JobError(f"{key}: {what}: more than 0")
    return duration
