"""Show failed attempts of a run on a terminal: when, the error, the user's frames of the traceback, the next attempt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from ..core import humanize
from ..core.states import RunState
from ..project import current
from ..schedules.zones import parse_zone

if TYPE_CHECKING:
    from ..kernel.queries.models import Attempt, StateChange

INDENT = " " * 10
_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?')
_HEAD = "Traceback (most recent call last):"
_NOT_OURS = re.compile(
    r"[/\\](?:site-packages|dist-packages|targcc_scheduler|lib/python3[.\d]*)[/\\]|\\Lib\\|^<(?!string>)"
)
"""Files that are not the user's: installed packages, the scheduler, the standard library, frozen modules."""
_MOST_FRAMES = 8
_NEXT = re.compile(r"; attempt (?P<number>\d+) at (?P<at>\S+)$")
"""End of the note of a run that will be retried."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a traceback.

    Args:
        file: The file, as in the traceback.
        line: The number of the line.
        function: The function.
        source: The source line; empty if unknown.
    """

    file: str
    line: int
    function: str
    source: str

    @property
    def is_ours(self) -> bool:
        """Whether the file is the user's, and not of a package, the scheduler or Python."""
        return _NOT_OURS.search(self.file) is None


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception of a traceback: its frames, and its lines ``KeyError: 'rows'``."""

    frames: tuple[Frame, ...]
    error: tuple[str, ...]


def parse_traceback(text: str) -> list[Raised]:
    """Return the exceptions of a traceback, the first cause first; empty for a text of another form, such as an exception group's."""
    raised: list[Raised] = []
    for part in text.split(f"{_HEAD}\n")[1:]:
        frames: list[Frame] = []
        error: list[str] = []
        for line in part.splitlines():
            match = _FRAME.fullmatch(line)
            if match is not None and not error:
                frames.append(Frame(match["file"], int(match["line"]), match["function"] or "", ""))
            elif line.startswith("  ") and not error:
                if frames and not frames[-1].source:
                    last = frames[-1]
                    frames[-1] = Frame(last.file, last.line, last.function, line.strip())
            elif line.strip():
                error.append(line)
            elif error:
                break
        if frames and error:
            raised.append(Raised(tuple(frames), tuple(error)))
    return raised


def traceback_lines(text: str, *, full: bool) -> Iterator[str]:
    """Yield the lines of a traceback: the user's frames and the error, or the whole text with ``full``.

    A traceback without the user's frames, or in another form, is whole.
    """
    raised = parse_traceback(text)
    ours = [frame for frame in raised[-1].frames if frame.is_ours] if raised else []
    if full or not ours:
        yield from text.rstrip().splitlines()
        return
    if len(ours) > _MOST_FRAMES:
        yield f"… {len(ours) - _MOST_FRAMES} more frames: --full shows them"
    for frame in ours[-_MOST_FRAMES:]:
        yield f"{_shown(frame.file)}:{frame.line}" + (
            f" in {frame.function}" if frame.function else ""
        )
        if frame.source:
            yield f"  {frame.source}"
    yield from raised[-1].error
    for cause in reversed(raised[:-1]):
        yield f"  after {cause.error[-1]}"


def _shown(file: str) -> str:
    """Return a file's path relative to the current folder, if below it. The traceback may be of another machine."""
    if PurePosixPath(file).is_absolute() or PureWindowsPath(file).is_absolute():
        path = Path(file)
        if path.is_relative_to(Path.cwd()):
            return str(path.relative_to(Path.cwd()))
    return file


def next_attempt(life: Iterable[StateChange], failed: int) -> datetime | None:
    """Return the time of the attempt after the attempt ``failed``, from the run's state changes; ``None`` without a retry."""
    for change in life:
        match = _NEXT.search(change.note) if change.state == RunState.RETRYING else None
        if match is not None and int(match["number"]) == failed + 1:
            return datetime.fromisoformat(match["at"])
    return None


def failed_lines(
    attempt: Attempt, *, next_at: datetime | None, now: datetime, full: bool = False
) -> Iterator[str]:
    """Yield the lines about a failed attempt: time and duration, the error, and when the next attempt comes."""
    zone = parse_zone(current().timezone)
    ended = (attempt.completed_at or attempt.started_at).astimezone(zone)
    took = (
        f" after {humanize.milliseconds(attempt.duration_ms)}"
        if attempt.duration_ms is not None
        else ""
    )
    yield f"{ended:%H:%M:%S}  {attempt.job}  attempt {attempt.number} failed{took}"
    text = attempt.traceback or attempt.error or attempt.message or ""
    for line in traceback_lines(text, full=full):
        yield f"{INDENT}{line}".rstrip()
    if next_at is not None:
        wait = humanize.relative(next_at, now)
        yield f"{INDENT}attempt {attempt.number + 1} at {next_at.astimezone(zone):%H:%M:%S} ({wait})"
