from typing import Any

import pytest

from golden_jobs.jobs.every_param import EveryParamJob
from golden_jobs.scheduler import ArgumentsError, run_job


async def test_succeeds() -> None:
    outcome = await run_job(EveryParamJob(), text="text", numbers=[1])

    assert outcome.result.ok


async def test_a_second_attempt_succeeds_too() -> None:
    outcome = await run_job(EveryParamJob(), attempt=2, text="text", numbers=[1])

    assert outcome.result.ok


async def test_refuses_an_unknown_argument() -> None:
    arguments: dict[str, Any] = {"surprise": 1}

    with pytest.raises(ArgumentsError, match="surprise"):
        await run_job(EveryParamJob(), **arguments, text="text", numbers=[1])
