"""Limits by key: parse the option ``limit``, and compute a run's key and policy."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

from ...core.errors import ArgumentsError, JobError
from ...core.text import clean
from .arguments import Parameters

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
    found = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    if found is None:
        raise JobError(f"{key}: limit: rate is such as 100/min, 5/s or 1000/h, not {rate!r}")
    return _MILLISECONDS[found[2]] / int(found[1])


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
