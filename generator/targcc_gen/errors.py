"""Errors that people see. An error carries its exit status; none shows a traceback without `--debug`."""

from __future__ import annotations


class TargccError(Exception):
    """Something is wrong with what was asked for; nothing was written.

    Args:
        message: What is wrong and where, one line or several.
        hint: What to do about it, if there is something.
    """

    exit_status = 2
    code = "error"
    """What programs tell kinds of errors by; it stays."""

    prefix = "error: "
    """What the command line prints before the message; empty where the message says by itself that it is one."""

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
