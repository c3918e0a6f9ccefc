"""Every exception that a user of the scheduler can meet."""

from __future__ import annotations


class JobError(ValueError):
    """A job is declared in a way that cannot work."""


class ArgumentsError(ValueError):
    """The arguments do not fit the job; the message has one line for each that is wrong."""


class JobCancelled(Exception):  # noqa: N818 - it is how a job obeys, not an error
    """A job raises this (by ``ctx.raise_if_cancelled()``) when it stops because it was told to."""


class StepError(Exception):
    """A durable step cannot be kept or read back."""


class UnknownJob(LookupError):  # noqa: N818 - reads as what it is
    """There is no job of this name; the message suggests the nearest."""


class RunStateError(Exception):
    """What was asked does not go with the state the run is in."""


class UnknownQueue(LookupError):  # noqa: N818 - reads as what it is
    """There is no queue of this name; the message lists those that there are."""


class UnknownRun(LookupError):  # noqa: N818 - reads as what it is
    """There is no run with this id."""


class NodeUnknown(Exception):  # noqa: N818 - reads as what it is
    """A node that was declared lost wants to take runs; its next heartbeat finds out, and it registers again."""


class RunTaken(Exception):  # noqa: N818 - tells a job what happened; nobody's error
    """The run belongs to another node now; this one was declared lost."""


class PauseError(ValueError):
    """A pause would end before it begins."""


class AuthError(ValueError):
    """A user or token cannot be made, changed or found; the message says why."""


class CredentialsRefused(Exception):  # noqa: N818 - reads as what it is
    """A request carries credentials that are wrong: it is nobody's, and no other identity provider is asked."""


class AlertError(Exception):
    """An alert cannot be sent; the text holds no secret."""


class SecretError(LookupError):
    """A reference to a secret leads nowhere; the message names the variable or file, and never a value."""


class LegacyError(ValueError):
    """The table, or a row of it, cannot be used."""


class HistoryError(ValueError):
    """A line of the file is no run."""


class ProjectError(RuntimeError):
    """No project is configured in this process, or another one is."""


class SchemaError(RuntimeError):
    """The tables are not those that this release works with."""
