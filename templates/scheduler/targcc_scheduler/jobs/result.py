"""What an attempt of a job ends with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .copies import refuse_result


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
    """

    ok: bool
    message: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    exception: BaseException | None = None
    retry: bool = True

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
            JobError: the job returned a result of another copy of the scheduler.
        """
        if isinstance(returned, JobResult):
            return returned
        refuse_result(returned)
        if returned is None:
            return cls.success()
        if isinstance(returned, str):
            return cls.success(returned)
        kind = type(returned).__name__
        raise TypeError(f"a job returns a JobResult, a text or nothing, not {kind}")
