"""What an attempt of a job ends with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.stored_values import type_name


@dataclass(frozen=True, slots=True)
class JobResult:
    """How an attempt ended, as the job itself sees it.

    Returning nothing means success; raising an exception and returning :meth:`failure` are both failures: logged, alerted
    and retried alike.

    Args:
        ok: Whether it worked.
        message: One line for people; shown in the history.
        metadata: Anything JSON can hold, kept with the attempt.
        exception: What went wrong, if the job caught it; its traceback is kept.
        retry: Whether a failure may be tried again; ``False`` makes it final.

    Raises:
        TypeError: one of them is of another type; says what to write instead.
    """

    ok: bool
    message: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    exception: BaseException | None = None
    retry: bool = True

    def __post_init__(self) -> None:
        """Refuse what could not be kept, where the job's author sees it."""
        _check("ok", self.ok, bool, "True or False; bool(…) makes one of other values")
        _check("message", self.message, str, "a text; str(…) makes one of other values")
        _check("metadata", self.metadata, Mapping, "a mapping, such as {'rows': 12}")
        if self.exception is not None:
            _check("exception", self.exception, BaseException, "the exception itself, or None")
        _check("retry", self.retry, bool, "True or False")

    @classmethod
    def success(cls, message: str = "Job completed successfully") -> JobResult:
        """The job did its work."""
        return cls(ok=True, message=message)

    @classmethod
    def failure(
        cls, message: str, exception: BaseException | None = None, *, retry: bool = True
    ) -> JobResult:
        """The job could not do its work.

        Args:
            message: What happened, in one line.
            exception: The exception behind it, if there is one.
            retry: ``False`` when trying again cannot help.
        """
        return cls(ok=False, message=message, exception=exception, retry=retry)

    def with_metadata(self, **values: Any) -> JobResult:
        """The same result with more metadata, such as ``revenue=total``."""
        return replace(self, metadata={**self.metadata, **values})

    @classmethod
    def of(cls, returned: object) -> JobResult:
        """What a job returned, as a result: ``None`` is success, text is success with that message.

        Raises:
            TypeError: the job returned anything else.
        """
        kind = type(returned)  # isinstance would believe a __class__ of its own
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
