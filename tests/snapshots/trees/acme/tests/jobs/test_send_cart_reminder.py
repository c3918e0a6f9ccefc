from typing import Any
from uuid import UUID

import pytest

from acme_jobs.jobs.send_cart_reminder import SendCartReminderJob
from acme_jobs.scheduler import ArgumentsError, run_job


async def test_succeeds() -> None:
    outcome = await run_job(SendCartReminderJob(), cart_id=UUID(int=1))

    assert outcome.result.ok


async def test_a_second_attempt_succeeds_too() -> None:
    outcome = await run_job(SendCartReminderJob(), attempt=2, cart_id=UUID(int=1))

    assert outcome.result.ok


async def test_refuses_an_unknown_argument() -> None:
    arguments: dict[str, Any] = {"surprise": 1}

    with pytest.raises(ArgumentsError, match="surprise"):
        await run_job(SendCartReminderJob(), **arguments, cart_id=UUID(int=1))
