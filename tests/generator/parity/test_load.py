"""The load preview: workers needed, the longest wait, and the quiet hours, from due times and known durations."""

from datetime import timedelta

import pytest
from c_job_rows import classic_row, cron_row
from targcc_gen.parity.load import load_of

LOG = (
    "INSERT c_LoggedJob (ID, c_JobID, WhenStarted, ExecutionTimeSec, enmRunStatus_JobStatus) VALUES"
)


def runs(job, seconds, clock="02:00:05"):
    return f"{LOG} ({job}, {job}, '2026-11-20T{clock}', {seconds}, 'Success')\n"


def test_jobs_of_a_runner_wait_for_each_other_by_their_longest_runs(bring):
    script = "".join(
        [
            classic_row(when="2024-01-01T04:00:00"),
            classic_row(ID=2, lkpJob="'Beside'", when="2024-01-01T04:10:00"),
            runs(1, 1800),
            runs(2, 60),
        ]
    )
    (queue,) = load_of(bring(script)).queues

    assert (queue.queue, queue.workers, queue.jobs, queue.needed) == ("srv01", 1, 2, 2)
    assert queue.wait is not None
    assert (queue.wait.job.key, queue.wait.length) == ("Beside", timedelta(minutes=20))


def test_with_more_workers_none_waits(bring):
    rows = classic_row(when="2024-01-01T04:00:00") + classic_row(
        ID=2, lkpJob="'Beside'", when="2024-01-01T04:00:00"
    )

    assert load_of(bring(rows, runner_workers=2)).queues[0].wait is None
    assert load_of(bring(rows)).queues[0].wait is not None


def test_a_job_never_waits_for_itself(bring):
    result = bring(cron_row(cron="0 * * * *") + runs(1, 3 * 3600))
    (queue,) = load_of(result).queues

    assert (queue.needed, queue.wait) == (1, None)


def test_runs_without_history_are_assumed_to_take_a_minute(bring):
    load = load_of(bring(cron_row() + cron_row(number=2, name="Other") + runs(1, 90)))

    assert (load.measured, load.assumed) == (1, 1)
    assert load.hours[2] == pytest.approx((2.5, 2.0))


def test_a_job_that_starts_every_few_minutes_counts_as_a_worker_and_is_no_wait(bring):
    rows = cron_row(cron="* * * * *") + cron_row(number=2, name="Other")
    load = load_of(bring(rows))

    assert (load.queues[0].often, load.queues[0].needed) == (1, 2)
    assert round(load.hours[5][1]) == 60


def test_a_long_run_makes_the_hours_that_it_covers_busy(bring):
    load = load_of(bring(cron_row(cron="30 22 * * *") + runs(1, 4 * 3600, "22:30:00")))

    busy = [hour for hour, (minutes, _) in enumerate(load.hours) if minutes]
    assert busy == [0, 1, 2, 22, 23]
    assert load.hours[2][0] == pytest.approx(30)
    assert load.quiet == 12


def test_the_quiet_window_has_the_fewest_busy_minutes(bring):
    rows = "".join(
        cron_row(number=hour + 1, name=f"Job {hour}", cron=f"0 {hour} * * *")
        for hour in range(24)
        if hour not in {5, 6, 20}
    )

    assert load_of(bring(rows)).quiet == 5


def test_paused_jobs_make_no_load(bring):
    assert load_of(bring(cron_row(active=0))).queues == []
