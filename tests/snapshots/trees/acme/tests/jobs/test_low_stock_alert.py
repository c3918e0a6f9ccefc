from pathlib import Path

import pytest

from acme_jobs.jobs.low_stock_alert import LowStockAlertJob
from acme_jobs.scheduler import run_job


async def test_succeeds_with_enough_space(tmp_path: Path) -> None:
    outcome = await run_job(LowStockAlertJob(), minimum_percent=0, path=str(tmp_path))

    assert outcome.result.ok
    assert 0 <= outcome.result.metadata["free_percent"] <= 100


async def test_fails_without_a_retry_when_space_is_short(tmp_path: Path) -> None:
    outcome = await run_job(LowStockAlertJob(), minimum_percent=101, path=str(tmp_path))

    assert not outcome.result.ok
    assert not outcome.result.retry
    assert "minimum of 101%" in outcome.result.message


async def test_a_second_run_fails_too(tmp_path: Path) -> None:
    for _ in range(2):
        outcome = await run_job(LowStockAlertJob(), minimum_percent=101, path=str(tmp_path))

        assert not outcome.result.ok


async def test_a_missing_disk_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run_job(LowStockAlertJob(), path=str(tmp_path / "nowhere"))
