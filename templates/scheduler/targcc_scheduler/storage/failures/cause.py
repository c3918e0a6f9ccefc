"""The cause of a failure: the type of its exception, where it was raised, and its message without what differs from run to run."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

MISSED = "Missed"
"""The kind of a slot that passed while nobody could start it."""
RESULT = "Failure"
"""The kind of a run that said itself that it failed, or that the scheduler failed."""

_LONGEST = 300
_TYPE = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?$")
_LOOKS_RAISED = re.compile(
    r"(Error|Exception|Warning|Exit|Interrupt|Timeout|Failed|Failure|Stop\w*)$"
)
_FRAME = re.compile(
    r'^[ \t]+File "(?P<file>[^"\n]+)", line \d+, in (?P<function>.+)$', re.MULTILINE
)
_ENDS = 100
"""Characters of a type that tell whether it is one of an exception."""
_ELSEWHERE = ("site-packages", "dist-packages", "/lib/python", "\\lib\\")
_VARIES = (
    (re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"), "<id>"),
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<address>"),
    (
        re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"),
        "<time>",
    ),
    (re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`"), "<text>"),
    (re.compile(r"0x[0-9a-fA-F]+|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}\b"), "<id>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a run of a job failed.

    Args:
        job: The job.
        kind: The type of the exception; :data:`RESULT` and :data:`MISSED` stand for what was no exception.
        place: The file and function of the job's own code that raised it; empty when that is not known.
        message: The message, with placeholders for numbers, times, ids, quoted texts and addresses.
    """

    job: str
    kind: str
    place: str
    message: str

    @property
    def key(self) -> str:
        """The fingerprint: failures of the same cause have the same."""
        said = f"{self.job}\0{self.kind}\0{self.place}\0{self.message}"
        return hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=8).hexdigest()


def cause_of(job: str, message: str | None, trace: str | None = None) -> Cause:
    """The cause of a failure, from the message of the run and the traceback of its last attempt."""
    line = _last_line(trace) if trace else ""
    found = _TYPE.match(line) or _TYPE.match(_first_line(message))
    if found is None or not (trace or _LOOKS_RAISED.search(found["kind"][-_ENDS:])):
        return Cause(job, RESULT, _place(trace), normalised(_first_line(message)))
    return Cause(job, found["kind"][:200], _place(trace), normalised(found["text"] or ""))


def missed(job: str) -> Cause:
    """The cause of slots that passed while nobody could start them."""
    return Cause(job, MISSED, "", "its slot passed while nobody could start it")


def normalised(text: str) -> str:
    """A message without what differs from run to run."""
    text = text[: _LONGEST * 4]
    for pattern, placeholder in _VARIES:
        text = pattern.sub(placeholder, text)
    return " ".join(text.split())[:_LONGEST]


def _last_line(trace: str) -> str:
    """The line of a traceback that names the exception: the last that is not indented and looks like one."""
    lines = [line for line in trace.splitlines() if line[:1].strip()]
    named = (line for line in reversed(lines) if _TYPE.match(line) and not line.endswith(":"))
    return next(named, "")


def _first_line(text: str | None) -> str:
    return next(iter((text or "").strip().splitlines()), "")


def _place(trace: str | None) -> str:
    """The deepest frame of the job's own code; no line number, since that moves with every release."""
    frames = [(found["file"], found["function"]) for found in _FRAME.finditer(trace or "")]
    own = [one for one in frames if not any(part in one[0] for part in _ELSEWHERE)] or frames
    if not own:
        return ""
    file, function = own[-1]
    short = "/".join(re.split(r"[\\/]", file)[-2:])
    return f"{short} in {function}"[:300]
