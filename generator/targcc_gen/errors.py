"""Errors that users see. An error carries its exit status; a traceback needs `--debug`."""

from __future__ import annotations


class TargccError(Exception):
    """A request is invalid; nothing was written.

    Args:
        message: The problem and its place, in one or several lines.
        hint: The next step, if any.
    """

    exit_status = 2
    code = "error"
    """Kind of the error for programs; the value is stable."""

    prefix = "error: "
    """Text before the message on the command line; empty for a message that reads as an error by itself."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(TargccError):
    """An argument, a spec or an export is wrong (exit status 2)."""

    code = "input"


class CheckFailed(TargccError):  # noqa: N818 - a finding, not a fault
    """`--check` found a difference (exit status 1)."""

    exit_status = 1
    code = "difference"


class ConflictError(TargccError):
    """A person has to decide before anything is written (exit status 3)."""

    exit_status = 3
    code = "conflict"
