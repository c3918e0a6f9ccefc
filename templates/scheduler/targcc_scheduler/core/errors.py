"""Exceptions that a user of the scheduler can meet."""

from __future__ import annotations


class JobError(ValueError):
    """The declaration of a job cannot work."""


class ArgumentTypeError(TypeError):
    """A parameter of a job has a type that cannot be an argument; the message names the parameter and the way out."""


class ArgumentsError(ValueError):
    """The arguments do not fit the job; the message has one line for each wrong argument."""


class FileError(ArgumentsError):
    """A file cannot be stored because of its size or the number of files; or a stored file is missing or has changed."""


class FileUnavailable(Exception):  # noqa: N818 - reads as what it is
    """A file of a run is unreadable for now, because its store or this machine's disk fails; another attempt may succeed."""


class JobCancelled(Exception):  # noqa: N818 - it is how a job obeys, not an error
    """Raised by a job (by ``ctx.raise_if_cancelled()``) that stops on request."""


class HookError(Exception):
    """The declaration of a hook is wrong, or the hook failed; the message names the hook."""


class StepError(Exception):
    """The result of a durable step cannot be stored or read back."""


class UnknownJob(LookupError):  # noqa: N818 - reads as what it is
    """No job has this name; the message suggests the nearest name."""


class RunStateError(Exception):
    """The state of the run does not allow the action."""


class IdempotencyError(ValueError):
    """The idempotency key of a call is malformed, or belongs to an earlier call with another job or other arguments."""


class FlowStateError(RunStateError):
    """The state of the flow does not allow the action."""


class UnknownQueue(LookupError):  # noqa: N818 - reads as what it is
    """No queue has this name; the message lists the queues."""


class UnknownRun(LookupError):  # noqa: N818 - reads as what it is
    """No run has this id."""


class UnknownFile(LookupError):  # noqa: N818 - reads as what it is
    """The run has no downloadable file with this id."""


class UnknownFlow(LookupError):  # noqa: N818 - reads as what it is
    """No flow has this id or this name."""


class UnknownBatch(LookupError):  # noqa: N818 - reads as what it is
    """No batch has this id."""


class BatchError(ValueError):
    """An action on a batch is impossible; the message says why."""


class UnknownFailure(LookupError):  # noqa: N818 - reads as what it is
    """No error group has this fingerprint."""


class UnknownBulk(LookupError):  # noqa: N818 - reads as what it is
    """No bulk operation has this id."""


class UnknownServer(LookupError):  # noqa: N818 - reads as what it is
    """No running server has this name."""


class UnknownRelease(LookupError):  # noqa: N818 - reads as what it is
    """No release has this name, or several names begin with the given text; the message lists the releases."""


class UnknownWebhook(LookupError):  # noqa: N818 - reads as what it is
    """No webhook, or no message of the webhook, has this number."""


class WebhookError(ValueError):
    """A webhook is invalid, or cannot be used now; the message says why."""


class BulkError(ValueError):
    """A bulk operation is impossible or cannot be undone; the message says why."""


class OverrideError(ValueError):
    """An option of a job cannot be overridden in this way; the message says why."""


class DatabaseReplaced(OSError):  # noqa: N818 - reads as what it is
    """The open database was replaced: its file was deleted, moved or replaced, or the server has another database by that name."""


class NodeUnknown(Exception):  # noqa: N818 - reads as what it is
    """A node asked for runs while drained, or after it was declared lost. A lost node registers again at its next heartbeat."""


class NodeStuck(NodeUnknown):
    """The jobs' event loop of the node is blocked; the node claims no runs until the loop runs again."""


class NodeSilent(NodeUnknown):
    """The node wrote no heartbeat for a while, and other nodes may have declared it lost; the node claims no runs until a heartbeat succeeds."""


class RunTaken(Exception):  # noqa: N818 - tells a job what happened; nobody's error
    """The run belongs to another node, because this node was declared lost."""


class MaintenanceError(ValueError):
    """A maintenance window is invalid: no reason, an end before the start, an end in the past, or a window that is over already."""


class PauseError(ValueError):
    """The end of a pause is before its start."""


class AuditError(ValueError):
    """The audit cannot be verified with these options."""


class AuthError(ValueError):
    """A user or a token cannot be created, changed or found; the message says why."""


class CredentialsRefused(Exception):  # noqa: N818 - reads as what it is
    """A request carries wrong credentials: the request has no principal, and no further identity provider is asked."""


class AlertError(Exception):
    """An alert cannot be sent; the message holds no secret."""


class SecretError(LookupError):
    """The variable or file of a secret reference is missing; the message holds the name and no value."""


class LegacyError(ValueError):
    """A source of jobs outside the code, or a row of the source, is unusable."""


class CutoverError(Exception):
    """A step of the cut-over from the old server failed; the message says why, and which parts are unchanged."""


class HistoryError(ValueError):
    """A line of a history file does not describe a run."""


class ProjectError(RuntimeError):
    """No project, or another project, is configured in this process."""


class SchemaError(RuntimeError):
    """This release does not know the revision of the tables."""


class QueryTimeout(TimeoutError):  # noqa: N818 - reads as what it is
    """A query of runs or history took longer than ``TARGCC_QUERY_SECONDS``."""


class SchedulerOff(RuntimeError):  # noqa: N818 - reads as what it is
    """The scheduler is off, by ``TARGCC_MODE`` or because pytest runs; its database cannot be queried."""
