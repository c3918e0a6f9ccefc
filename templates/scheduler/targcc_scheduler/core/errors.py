"""Every exception that a user of the scheduler can meet."""

from __future__ import annotations


class JobError(ValueError):
    """A job is declared in a way that cannot work."""


class ArgumentsError(ValueError):
    """The arguments do not fit the job; the message has one line for each that is wrong."""


class JobCancelled(Exception):  # noqa: N818 - it is how a job obeys, not an error
    """A job raises this (by ``ctx.raise_if_cancelled()``) when it stops because it was told to."""


class StepError(Exception):
    """The result of a durable step cannot be stored or read back."""


class UnknownJob(LookupError):  # noqa: N818 - reads as what it is
    """There is no job of this name; the message suggests the nearest."""


class RunStateError(Exception):
    """The state of the run does not allow what was asked."""


class UnknownQueue(LookupError):  # noqa: N818 - reads as what it is
    """There is no queue of this name; the message lists those that there are."""


class UnknownRun(LookupError):  # noqa: N818 - reads as what it is
    """There is no run with this id."""


class NodeUnknown(Exception):  # noqa: N818 - reads as what it is
    """A node that was declared lost asked for runs; it registers again at its next heartbeat."""


class RunTaken(Exception):  # noqa: N818 - tells a job what happened; nobody's error
    """The run belongs to another node now, since this one was declared lost."""


class PauseError(ValueError):
    """A pause would end before it begins."""


class AuthError(ValueError):
    """A user or token cannot be made, changed or found; the message says why."""


class CredentialsRefused(Exception):  # noqa: N818 - reads as what it is
    """A request carries credentials that are wrong: it is nobody's, and no other identity provider is asked."""


class AlertError(Exception):
    """An alert cannot be sent; the text holds no secret."""


class SecretError(LookupError):
    """The variable or file that a reference to a secret names is missing; the message holds the name and never a value."""


class LegacyError(ValueError):
    """A source of jobs outside the code, or one of its rows, cannot be used."""


class HistoryError(ValueError):
    """A line of a history file is not a run."""


class ProjectError(RuntimeError):
    """No project is configured in this process, or another one is."""


class SchemaError(RuntimeError):
    """The tables have a revision that this release does not know."""
