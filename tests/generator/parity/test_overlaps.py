"""Differences caused by the old runner's one job at a time."""

from datetime import timedelta

from c_job_rows import classic_row
from targcc_gen.parity.compare import runner_queues

FOUR, TEN_PAST = "2024-01-01T04:00:00", "2024-01-01T04:10:00"


def logged(job, seconds, number=1):
    return (
        "INSERT c_LoggedJob (ID, c_JobID, WhenStarted, ExecutionTimeSec, enmRunStatus_JobStatus) VALUES "
        f"({number}, {job}, '2026-11-20T04:00:00', {seconds}, 'Success')\n"
    )


def test_starts_at_the_same_time_meet(bring):
    result = bring(
        classic_row(when=FOUR)
        + classic_row(ID=2, lkpJob="'Beside'", when=FOUR)
        + classic_row(ID=3, lkpJob="'Later'", when=TEN_PAST)
        + classic_row(ID=4, lkpJob="'Elsewhere'", lkpJobRunner="'SRV02'", when=FOUR)
    )
    first_queue, other_queue = runner_queues(result)

    assert (first_queue.runner, first_queue.queue, first_queue.workers, first_queue.jobs) == (
        "SRV01",
        "srv01",
        1,
        3,
    )
    assert (first_queue.meetings, first_queue.longest_wait) == (35, timedelta(0))
    assert {first_queue.first.job.key, first_queue.first.other.key} == {"NightlyLoad", "Beside"}
    assert (other_queue.queue, other_queue.meetings, other_queue.first) == ("srv02", 0, None)


def test_a_start_within_the_longest_run_that_the_history_knows_meets_it(bring):
    rows = classic_row(when=FOUR) + classic_row(ID=2, lkpJob="'Later'", when=TEN_PAST)
    (short,) = runner_queues(bring(rows + logged(1, 599)))
    (long,) = runner_queues(bring(rows + logged(1, 599) + logged(1, 900, number=2)))

    assert (short.meetings, long.meetings) == (0, 35)
    assert long.longest_wait == timedelta(minutes=5)
    assert (long.first.job.key, long.first.other.key) == ("Later", "NightlyLoad")


def test_a_job_does_not_meet_itself_and_one_that_is_switched_off_meets_nobody(bring):
    rows = classic_row("CyclicMin", count=5) + classic_row(ID=2, lkpJob="'Off'", Active=0)
    (queue,) = runner_queues(bring(rows + logged(1, 900)))

    assert (queue.jobs, queue.meetings) == (1, 0)
