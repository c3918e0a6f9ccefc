"""Convert the returned value or the error of a job to plain data, by tables."""

import json

import pytest
from targcc_scheduler import JobResult
from targcc_scheduler.core.errors import JobCancelled
from targcc_scheduler.kernel.worker.outcome import (
    Outcome,
    raised_outcome,
    refused_outcome,
    result_error,
    returned_outcome,
    shown_result,
)


class Lying:
    """Object that claims to be a result through ``__class__``."""

    __class__ = JobResult


class MuteError(Exception):
    """Error without a readable text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def _result(**fields):
    """Return a result with fields changed after its construction."""
    made = JobResult.success("done")
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize(
    ("returned", "ok", "message", "retry", "explicit"),
    [
        (None, True, "Job completed successfully", True, False),
        ("12 rows", True, "12 rows", True, False),
        (JobResult.success("12 rows"), True, "12 rows", True, True),
        (JobResult.failure("no"), False, "no", True, True),
        (JobResult.failure("no", retry=False), False, "no", False, True),
        (
            7,
            False,
            "a job returns a JobResult, a text or nothing, not int",
            False,
            False,
        ),
        (
            False,
            False,
            "a job returns a JobResult, a text or nothing, not bool",
            False,
            False,
        ),
        (
            Lying(),
            False,
            "a job returns a JobResult, a text or nothing, not Lying",
            False,
            False,
        ),
        (
            _result(ok=1),
            False,
            "JobResult.ok is of type int, so nothing is known of it: done",
            False,
            True,
        ),
        (_result(message=12), True, "12", True, True),
        (_result(retry=None), True, "done", True, True),
    ],
)
def test_what_a_job_returned(returned, ok, message, retry, explicit):
    outcome = returned_outcome(returned)
    assert (outcome.ok, outcome.message) == (ok, message)
    assert (outcome.retry, outcome.explicit) == (retry, explicit)


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [({}, None), ({"rows": 12}, '{"rows": 12}'), ([1], '{"value": [1]}')],
)
def test_what_it_put_into_the_metadata_is_kept_as_json(metadata, kept):
    assert returned_outcome(_result(metadata=metadata)).metadata_json == kept


def test_a_coroutine_that_nobody_awaits_is_closed():
    async def execute() -> None:
        """Job function that never runs."""

    coroutine = execute()
    outcome = returned_outcome(coroutine)
    assert (outcome.ok, outcome.retry) == (False, False)
    assert coroutine.cr_frame is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("the order\nhas no lines"), "ValueError: the order"),
        (ValueError(), "ValueError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(3), "SystemExit: 3"),
        (MuteError(), f"{__name__}.MuteError: <its text cannot be shown: RuntimeError>"),
    ],
)
def test_what_a_job_raised_is_a_failure_that_may_be_retried(error, message):
    outcome = raised_outcome(error)
    assert (outcome.ok, outcome.retry, outcome.explicit) == (False, True, False)
    assert outcome.message == message
    assert outcome.own_stack_trace == outcome.stack_trace is not None


def test_what_a_job_raised_because_it_was_told_to_stop_is_not_its_own():
    outcome = raised_outcome(JobCancelled("cancelled by dana"))
    assert outcome.stack_trace is not None
    assert outcome.own_stack_trace is None


def test_the_exception_of_a_result_is_kept_with_its_traceback():
    with pytest.raises(ValueError, match="lines") as raised:
        int("the order has no lines")
    outcome = returned_outcome(JobResult.failure("no", raised.value))
    assert "the order has no lines" in outcome.stack_trace
    assert outcome.message == "no"


ERROR = ValueError("no")


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (JobResult.failure("no", ERROR), ERROR),
        (JobResult.failure("no"), None),
        (JobResult.success("done"), None),
        (_result(exception="no"), None),
        (_result(exception=ValueError), None),
        (None, None),
        (ERROR, None),
        (Lying(), None),
    ],
)
def test_only_a_result_has_an_error(returned, error):
    assert result_error(returned) is error


def test_what_was_not_begun_is_not_retried():
    outcome = refused_outcome("a" * 100_000)
    assert (outcome.ok, outcome.retry) == (False, False)
    assert "more characters" in outcome.message


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(ok=True, message="done"),
        Outcome(ok=False, message="no", retry=False, metadata_json='{"rows": 12}'),
    ],
)
def test_hooks_see_the_outcome_as_a_result(outcome):
    shown = shown_result(outcome)
    assert (shown.ok, shown.message, shown.retry) == (outcome.ok, outcome.message, outcome.retry)
    assert dict(shown.metadata) == json.loads(outcome.metadata_json or "{}")
