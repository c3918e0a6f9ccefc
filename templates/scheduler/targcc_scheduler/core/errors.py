"""Every exception that a user of the scheduler can meet."""

from __future__ import annotations


class JobError(ValueError):
    """A job is declared in a way that cannot work."""


class ArgumentsError(ValueError):
    """The arguments do not fit the job; the message has one line for each that is wrong."""


class FileError(ArgumentsError):
    """A file cannot be kept, since it is too large or there are too many; or is not there any more, or not what it was."""


class FileUnavailable(Exception):  # noqa: N818 - reads as what it is
    """A file of a run cannot be read now, since its store or this machine's disk does not work: another attempt may."""


class JobCancelled(Exception):  # noqa: N818 - it is how a job obeys, not an error
    """A job raises this (by ``ctx.raise_if_cancelled()``) when it stops because it was told to."""


class HookError(Exception):
    """A hook cannot be what it is declared as, or has failed; the message names it."""


class StepError(Exception):
    """The result of a durable step cannot be stored or read back."""


class UnknownJob(LookupError):  # noqa: N818 - reads as what it is
    """There is no job of this name; the message suggests the nearest."""


class RunStateError(Exception):
    """The state of the run does not allow what was asked."""


class IdempotencyError(ValueError):
    """The idempotency key of a call is that of an earlier call with another job or other arguments, or is no key."""


class FlowStateError(RunStateError):
    """The flow is not in a state in which that can be done."""


class UnknownQueue(LookupError):  # noqa: N818 - reads as what it is
    """There is no queue of this name; the message lists those that there are."""


class UnknownRun(LookupError):  # noqa: N818 - reads as what it is
    """There is no run with this id."""


class UnknownFile(LookupError):  # noqa: N818 - reads as what it is
    """The run has no file with this id that may be downloaded."""


class UnknownFlow(LookupError):  # noqa: N818 - reads as what it is
    """There is no flow with this id, or of this name."""


class UnknownBatch(LookupError):  # noqa: N818 - reads as what it is
    """There is no batch with this id."""


class BatchError(ValueError):
    """What was asked of a batch cannot be done; the message says why."""


class UnknownFailure(LookupError):  # noqa: N818 - reads as what it is
    """There is no failure of this cause."""


class UnknownBulk(LookupError):  # noqa: N818 - reads as what it is
    """There is no operation of this id."""


class UnknownServer(LookupError):  # noqa: N818 - reads as what it is
    """No server of this name is up."""


class UnknownRelease(LookupError):  # noqa: N818 - reads as what it is
    """There is no release of this name, or several begin so; the message lists them."""


class UnknownWebhook(LookupError):  # noqa: N818 - reads as what it is
    """There is no webhook, or no message to it, of this number."""


class WebhookError(ValueError):
    """A webhook that cannot be made so, or not be used now; the message says why."""


class BulkError(ValueError):
    """An operation on many runs that cannot be done, or not be taken back; the message says why."""


class OverrideError(ValueError):
    """An option of a job that cannot be overridden so; the message says why."""


class DatabaseReplaced(OSError):  # noqa: N818 - reads as what it is
    """The database is not the one that was opened: its file was deleted, moved or replaced, or the server has another by that name."""


class NodeUnknown(Exception):  # noqa: N818 - reads as what it is
    """A node that may have no runs asked for some: it was declared lost, and registers again at its next heartbeat; or it is being drained."""


class NodeStuck(NodeUnknown):
    """A node whose jobs' loop does not turn takes no runs until it does."""


class NodeSilent(NodeUnknown):
    """A node that could write no heartbeat for a while takes no runs until it does: others may have declared it lost."""


class RunTaken(Exception):  # noqa: N818 - tells a job what happened; nobody's error
    """The run belongs to another node now, since this one was declared lost."""


class MaintenanceError(ValueError):
    """A maintenance window cannot be: it ends before it begins or in the past, has no reason, or is over already."""


class PauseError(ValueError):
    """A pause would end before it begins."""


class AuditError(ValueError):
    """The audit cannot be verified in the way that was asked for."""


class AuthError(ValueError):
    """A user or token cannot be made, changed or found; the message says why."""


class CredentialsRefused(Exception):  # noqa: N818 - reads as what it is
    """A request carries credentials that are wrong: it is nobody's, and no other identity provider is asked."""


class AlertError(Exception):
    """An alert cannot be sent; the text holds no secret."""


class SecretError(LookupError):
    """The variable or file that a reference to a secret names is missing; the message holds the name and no value."""


class LegacyError(ValueError):
    """A source of jobs outside the code, or one of its rows, cannot be used."""


class CutoverError(Exception):
    """A step of the cut-over from the old server cannot be done; the message says why, and what was left as it is."""


class HistoryError(ValueError):
    """A line of a history file is not a run."""


class ProjectError(RuntimeError):
    """No project is configured in this process, or another one is."""


class SchemaError(RuntimeError):
    """The tables have a revision that this release does not know."""


class PartitionError(RuntimeError):
    """The history cannot be kept in another form."""


class QueryTimeout(TimeoutError):  # noqa: N818 - reads as what it is
    """A question about runs or history took longer than ``TARGCC_QUERY_SECONDS``."""


class SchedulerOff(RuntimeError):  # noqa: N818 - reads as what it is
    """The scheduler is off, by ``TARGCC_MODE`` or because pytest runs: nothing can be asked of its database."""
