from typing import Any

import pytest

from golden_jobs.jobs.debounced import DebouncedJob
from golden_jobs.scheduler import ArgumentsError, run_job


async def test_succeeds() -> None:
    outcome = await run_job(DebouncedJob(), user_id=1, list="text")

    assert outcome.result.ok


async def test_a_second_attempt_succeeds_too() -> None:
    outcome = await run_job(DebouncedJob(), attempt=2, user_id=1, list="text")

    assert outcome.result.ok


async def test_refuses_an_unknown_argument() -> None:
    arguments: dict[str, Any] = {"surprise": 1}

    with pytest.raises(ArgumentsError, match="surprise"):
        await run_job(DebouncedJob(), **arguments, user_id=1, list="text")
