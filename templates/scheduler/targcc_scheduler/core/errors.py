"""Exceptions that a user of the scheduler can meet.

``code`` is the code in the manual, explained in ``error_codes.toml``. A class without a code is a signal between parts of the scheduler and a job.
"""

from __future__ import annotations

from .error_codes import pointer


class _StartError(Exception):
    """Exception that may end the start of an application: its traceback ends with the code."""

    code = ""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.add_note(f"{self.code}: {pointer((self.code,), 'targcc').strip()}")


class JobError(ValueError):
    """The declaration of a job cannot work."""

    code = "TS101"


class ArgumentTypeError(TypeError):
    """A parameter of a job has a type that cannot be an argument; the message names the parameter and the way out."""

    code = "TS109"


class ArgumentsError(ValueError):
    """The arguments do not fit the job; the message has one line for each wrong argument."""

    code = "TS103"


class FileError(ArgumentsError):
    """A file cannot be stored because of its size or the number of files; or a stored file is missing or has changed."""

    code = "TS104"


class FileUnavailable(Exception):  # noqa: N818 - reads as what it is
    """A file of a run is unreadable for now, because its store or this machine's disk fails; another attempt may succeed."""

    code = "TS105"


class JobCancelled(Exception):  # noqa: N818 - it is how a job obeys, not an error
    """Raised by a job (by ``ctx.raise_if_cancelled()``) that stops on request."""


class HookError(Exception):
    """The declaration of a hook is wrong, or the hook failed; the message names the hook."""

    code = "TS107"


class StepError(Exception):
    """The result of a durable step cannot be stored or read back."""

    code = "TS108"


class UnknownJob(LookupError):  # noqa: N818 - reads as what it is
    """No job has this name; the message suggests the nearest name."""

    code = "TS102"


class RunStateError(Exception):
    """The state of the run does not allow the action."""

    code = "TS202"


class IdempotencyError(ValueError):
    """The idempotency key of a call is malformed, or belongs to an earlier call with another job or other arguments."""

    code = "TS203"


class FlowStateError(RunStateError):
    """The state of the flow does not allow the action."""

    code = "TS205"


class UnknownQueue(LookupError):  # noqa: N818 - reads as what it is
    """No queue has this name; the message lists the queues."""

    code = "TS303"


class UnknownRun(LookupError):  # noqa: N818 - reads as what it is
    """No run has this id."""

    code = "TS201"


class UnknownFile(LookupError):  # noqa: N818 - reads as what it is
    """The run has no downloadable file with this id."""

    code = "TS106"


class UnknownFlow(LookupError):  # noqa: N818 - reads as what it is
    """No flow has this id or this name."""

    code = "TS204"


class UnknownBatch(LookupError):  # noqa: N818 - reads as what it is
    """No batch has this id."""

    code = "TS206"


class BatchError(ValueError):
    """An action on a batch is impossible; the message says why."""

    code = "TS207"


class UnknownFailure(LookupError):  # noqa: N818 - reads as what it is
    """No error group has this fingerprint."""

    code = "TS210"


class UnknownBulk(LookupError):  # noqa: N818 - reads as what it is
    """No bulk operation has this id."""

    code = "TS208"


class UnknownServer(LookupError):  # noqa: N818 - reads as what it is
    """No running server has this name."""

    code = "TS304"


class UnknownRelease(LookupError):  # noqa: N818 - reads as what it is
    """No release has this name, or several names begin with the given text; the message lists the releases."""

    code = "TS305"


class UnknownWebhook(LookupError):  # noqa: N818 - reads as what it is
    """No webhook, or no message of the webhook, has this number."""

    code = "TS708"


class WebhookError(ValueError):
    """A webhook is invalid, or cannot be used now; the message says why."""

    code = "TS709"


class BulkError(ValueError):
    """A bulk operation is impossible or cannot be undone; the message says why."""

    code = "TS209"


class OverrideError(ValueError):
    """An option of a job cannot be overridden in this way; the message says why."""

    code = "TS306"


class DatabaseReplaced(OSError):  # noqa: N818 - reads as what it is
    """The open database was replaced: its file was deleted, moved or replaced, or the server has another database by that name."""

    code = "TS603"


class NodeUnknown(Exception):  # noqa: N818 - reads as what it is
    """A node asked for runs while drained, or after it was declared lost. A lost node registers again at its next heartbeat."""


class LeaseLost(NodeUnknown, ConnectionError):  # noqa: N818 - reads as what it is
    """Another node has become the active node: as after an outage, the transaction can be done again, as a transaction of a standby."""


class NodeStuck(NodeUnknown):
    """The jobs' event loop of the node is blocked; the node claims no runs until the loop runs again."""


class NodeSilent(NodeUnknown):
    """The node wrote no heartbeat for a while, and other nodes may have declared it lost; the node claims no runs until a heartbeat succeeds."""


class RunTaken(Exception):  # noqa: N818 - tells a job what happened; nobody's error
    """The run belongs to another node, because this node was declared lost."""


class MaintenanceError(ValueError):
    """A maintenance window is invalid: no reason, an end before the start, an end in the past, or a window that is over already."""

    code = "TS308"


class PauseError(ValueError):
    """The end of a pause is before its start."""

    code = "TS307"


class AuditError(ValueError):
    """The audit cannot be verified with these options."""

    code = "TS706"


class AuthError(ValueError):
    """A user or a token cannot be created, changed or found; the message says why."""

    code = "TS705"


class LastAdminError(AuthError):
    """A change would leave the project without an admin.

    Args:
        name: The user.
    """

    code = "TS713"

    def __init__(self, name: str) -> None:
        from .languages import Localized

        super().__init__(
            Localized(
                "the user %(name)s is the last admin: make another user an admin first", name=name
            )
        )


class CredentialsRefused(Exception):  # noqa: N818 - reads as what it is
    """A request carries wrong credentials: the request has no principal, and no further identity provider is asked."""


class AlertError(Exception):
    """An alert cannot be sent; the message holds no secret."""

    code = "TS707"


class SecretError(LookupError):
    """The variable or file of a secret reference is missing; the message holds the name and no value."""

    code = "TS612"


class LegacyError(ValueError):
    """A source of jobs outside the code, or a row of the source, is unusable."""

    code = "TS710"


class CutoverError(Exception):
    """A step of the cut-over from the old server failed; the message says why, and which parts are unchanged."""

    code = "TS711"


class HistoryError(ValueError):
    """A line of a history file does not describe a run."""

    code = "TS712"


class ProjectError(_StartError, RuntimeError):
    """No project, or another project, is configured in this process."""

    code = "TS606"


class SchemaError(_StartError, RuntimeError):
    """This release does not know the revision of the tables."""

    code = "TS602"


class QueryTimeout(TimeoutError):  # noqa: N818 - reads as what it is
    """A query of runs or history took longer than ``TARGCC_QUERY_SECONDS``."""

    code = "TS604"


class OtherDatabase(ValueError):  # noqa: N818 - reads as what it is
    """The session of a call is on a database without the scheduler's tables, or on another database system than the scheduler."""

    code = "TS614"


class ExtraMissing(ImportError):  # noqa: N818 - reads as what it is
    """A setting needs packages that are not installed; the message names the extra that has them."""

    code = "TS615"


class SchedulerOff(RuntimeError):  # noqa: N818 - reads as what it is
    """The scheduler is off, by ``TARGCC_MODE`` or because pytest runs; its database cannot be queried."""

    code = "TS605"
