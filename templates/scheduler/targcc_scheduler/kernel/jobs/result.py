"""`JobResult`: the result that an attempt of a job returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.stored_values import type_name


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of an attempt, returned by the job: success or failure, with a message and metadata.

    A job may also return nothing (a success) or a text (a success with that message). A job fails by raising an exception or by returning
    :meth:`failure`; both failures are logged, alerted and retried alike::

        return JobResult.success("42 rows loaded").with_metadata(rows=42)
        return JobResult.failure("the ledger is closed", retry=False)

    Args:
        ok: ``True`` for a success, ``False`` for a failure.
        message: One line for people; the history shows the message.
        metadata: Values that JSON can hold; stored with the attempt.
        exception: The exception that the job caught, if any; its traceback is stored.
        retry: Whether a failure may be retried; ``False`` makes the failure final.

    Raises:
        TypeError: A value has the wrong type; the message names the right type.
    """

    ok: bool
    message: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    exception: BaseException | None = None
    retry: bool = True

    def __post_init__(self) -> None:
        """Check the types here, so that the error appears in the job's own code."""
        _check("ok", self.ok, bool, "True or False; bool(…) makes one of other values")
        _check("message", self.message, str, "a text; str(…) makes one of other values")
        _check("metadata", self.metadata, Mapping, "a mapping, such as {'rows': 12}")
        if self.exception is not None:
            _check("exception", self.exception, BaseException, "the exception itself, or None")
        _check("retry", self.retry, bool, "True or False")

    @classmethod
    def success(cls, message: str = "Job completed successfully") -> JobResult:
        """Return a success with a message."""
        return cls(ok=True, message=message)

    @classmethod
    def failure(
        cls, message: str, exception: BaseException | None = None, *, retry: bool = True
    ) -> JobResult:
        """Return a failure with a message.

        Args:
            message: The reason, in one line.
            exception: The exception that caused the failure, if any; its traceback is stored.
            retry: ``False`` if another attempt cannot help; the run then fails for good.
        """
        return cls(ok=False, message=message, exception=exception, retry=retry)

    def with_metadata(self, **values: Any) -> JobResult:
        """Return a copy of the result with more metadata, such as ``revenue=total``; a repeated name replaces the earlier value."""
        return replace(self, metadata={**self.metadata, **values})

    @classmethod
    def of(cls, returned: object) -> JobResult:
        """Convert the return value of a job: ``None`` is a success, a text is a success with that message.

        Raises:
            TypeError: The value is neither a result, a text nor ``None``.
        """
        kind = type(returned)  # isinstance would trust an overridden __class__
        if issubclass(kind, JobResult):
            return returned  # type: ignore[return-value]
        if returned is None:
            return cls.success()
        if issubclass(kind, str):
            return cls.success(returned)  # type: ignore[arg-type]
        raise TypeError(
            f"a job returns a JobResult, a text or nothing, not {type_name(returned)}{_hint(kind)}"
        )


def _check(name: str, value: object, kind: type, meant: str) -> None:
    if not issubclass(type(value), kind):
        raise TypeError(f"JobResult: {name} is {meant}; this is of type {type_name(value)}")


def _hint(kind: type) -> str:
    if kind.__dict__.get("__await__") or kind.__dict__.get("__anext__"):
        return ": its execute lacks an await"
    return ""
