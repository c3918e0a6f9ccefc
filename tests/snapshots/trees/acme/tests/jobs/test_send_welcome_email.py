from typing import Any

import pytest

from acme_jobs.jobs.send_welcome_email import SendWelcomeEmailJob
from acme_jobs.scheduler import ArgumentsError, run_job


async def test_succeeds() -> None:
    outcome = await run_job(SendWelcomeEmailJob(), customer_id=1)

    assert outcome.result.ok


async def test_a_second_attempt_succeeds_too() -> None:
    outcome = await run_job(SendWelcomeEmailJob(), attempt=2, customer_id=1)

    assert outcome.result.ok


async def test_refuses_an_unknown_argument() -> None:
    arguments: dict[str, Any] = {"surprise": 1}

    with pytest.raises(ArgumentsError, match="surprise"):
        await run_job(SendWelcomeEmailJob(), **arguments, customer_id=1)
