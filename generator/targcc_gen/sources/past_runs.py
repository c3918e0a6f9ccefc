"""Statistics of a job's past runs, in little memory: a history may have millions of runs."""

from __future__ import annotations

from array import array
from collections import Counter
from datetime import datetime, timedelta
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall time
_UNKNOWN = -1
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_LONGEST = 2**31 - 1
_MOST_NAMES = 200
_MOST_ERRORS = 200
_ERROR_WIDTH = 160


def is_plausible(moment: datetime) -> bool:
    """Return whether a server can have written the time for a run. 0001-01-01 stands for no time."""
    return _FIRST_YEAR <= moment.year <= _LAST_YEAR


class OldRun(NamedTuple):
    """A run by the old server's wall clock. ``seconds`` is its duration, ``by`` the person or program that started the run."""

    started: datetime
    seconds: int | None
    failed: bool
    by: str


class RunLog:
    """Runs in the order of reading, at 14 bytes each."""

    def __init__(self) -> None:
        self._starts = array("q")
        self._seconds = array("i")
        self._failed = bytearray()
        self._by = bytearray()
        self._names: dict[str, int] = {"": 0}
        self.errors: Counter[str] = Counter()
        """The error texts of failed runs, cut to a fixed width. Of many different texts only the first are kept."""

    def __len__(self) -> int:
        return len(self._starts)

    def add(
        self, started: datetime, seconds: int | None, *, failed: bool, by: str = "", error: str = ""
    ) -> None:
        """Keep a run, with its start to the second. Skip a run without a plausible start."""
        if not is_plausible(started):
            return
        self._starts.append((started - _EPOCH) // timedelta(seconds=1))
        known = seconds is not None and seconds >= 0
        self._seconds.append(min(seconds or 0, _LONGEST) if known else _UNKNOWN)
        self._failed.append(failed)
        if by not in self._names and len(self._names) < _MOST_NAMES:
            self._names[by] = len(self._names)
        self._by.append(self._names.get(by, 0))
        cut = " ".join(error.split())[:_ERROR_WIDTH]
        if cut and (cut in self.errors or len(self.errors) < _MOST_ERRORS):
            self.errors[cut] += 1

    def latest(self) -> datetime | None:
        """Return the start of the latest run."""
        return _EPOCH + timedelta(seconds=max(self._starts)) if self._starts else None

    def last(self, count: int | None = None) -> list[OldRun]:
        """Return the latest ``count`` runs, oldest first; without a count, all runs."""
        order = sorted(range(len(self._starts)), key=self._starts.__getitem__)
        names = list(self._names)
        return [
            OldRun(
                _EPOCH + timedelta(seconds=self._starts[index]),
                None if self._seconds[index] == _UNKNOWN else self._seconds[index],
                bool(self._failed[index]),
                names[self._by[index]],
            )
            for index in (order if count is None else order[-count:])
        ]

    def durations(self) -> list[int]:
        """Return the known durations of runs in seconds, shortest first."""
        return sorted(seconds for seconds in self._seconds if seconds != _UNKNOWN)

    def usual(self) -> timedelta | None:
        """Return the median duration of runs; ``None`` if no duration is known."""
        durations = self.durations()
        return timedelta(seconds=durations[(len(durations) - 1) // 2]) if durations else None

    def ends(self) -> list[int]:
        """Return the ends of runs with a known duration, in seconds since 1970 of the wall clock."""
        return [
            start + seconds
            for start, seconds in zip(self._starts, self._seconds, strict=True)
            if seconds > 0
        ]
