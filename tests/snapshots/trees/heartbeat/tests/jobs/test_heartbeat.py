from typing import Any

import pytest

from heartbeat_jobs.jobs.heartbeat import HeartbeatJob
from heartbeat_jobs.scheduler import ArgumentsError, run_job


async def test_succeeds() -> None:
    outcome = await run_job(HeartbeatJob())

    assert outcome.result.ok


async def test_a_second_attempt_succeeds_too() -> None:
    outcome = await run_job(HeartbeatJob(), attempt=2)

    assert outcome.result.ok


async def test_refuses_an_unknown_argument() -> None:
    arguments: dict[str, Any] = {"surprise": 1}

    with pytest.raises(ArgumentsError, match="surprise"):
        await run_job(HeartbeatJob(), **arguments)
