"""Compare the old server's history with its rows: each case by a history that shows it."""

from datetime import datetime, timedelta

import pytest
from c_job_rows import classic_row, cron_row
from targcc_gen.evidence.model import Verdict
from targcc_gen.evidence.weigh import place_of, weigh
from targcc_gen.parity.compare import differences
from targcc_gen.report.verdicts import Standing, standings, unsettled

NOW = datetime(2026, 11, 25, 3)  # noqa: DTZ001 - the old server's wall clock
DAY = timedelta(days=1)


def log(starts, *, job=1, seconds=30, result="Success", by="svc", first=1, remarks="NULL"):
    """Return rows of c_LoggedJob as T-SQL."""
    text = ""
    for number, start in enumerate(starts, first):
        took = seconds(number) if callable(seconds) else seconds
        ended = result(number) if callable(result) else result
        text += (
            "INSERT c_LoggedJob (ID, c_JobID, WhenStarted, ExecutionTimeSec, enmRunStatus_JobStatus, ActivatingUser, Remarks)"
            f" VALUES ({number}, {job}, '{start:%Y-%m-%dT%H:%M:%S}', {took}, '{ended}', '{by}', {remarks})\n"
        )
    return text


def days(count, *, hour=2, minute=0, second=12, until=NOW, only=None):
    """Return a start on each of the last days, or on the days that `only` accepts."""
    starts = []
    day = (until - DAY).replace(hour=hour, minute=minute, second=second)
    while len(starts) < count:
        if only is None or only(day):
            starts.append(day)
        day -= DAY
    return starts[::-1]


ALIVE = cron_row(number=99, name="Alive", cron="0 1 * * *") + log(
    days(40, hour=1), job=99, first=9000
)


@pytest.fixture
def weighed(bring):
    """Return a function that imports a script and returns the import, the evidence for the job of row 1, and the job."""

    def run(script, *, row="1", **options):
        result = bring(script, **options)
        evidence = weigh(result)
        job = next(candidate for candidate in result.all_jobs if candidate.old.id == row)
        return result, evidence.of(place_of(job)), job

    return run


def kinds(evidence):
    return [finding.kind for finding in evidence.findings]


def standing(result, found, job):
    return standings(result, unsettled(differences(result), found), found).by_key[job.key]


def test_a_history_on_the_schedule_agrees_with_counts(weighed):
    _, evidence, job = weighed(cron_row() + log(days(20)))

    assert (evidence.verdict, evidence.findings) == (Verdict.AGREES, ())
    assert evidence.text == "20 of 20 starts came at a time of its schedule"
    assert (evidence.typical, evidence.longest) == (30, 30)
    assert job.spec.cron == "0 2 * * *"


def test_without_a_history_and_times_there_is_no_evidence(bring):
    result = bring(cron_row(cron="5 4 * * *"))
    evidence = weigh(result)
    (job,) = result.jobs

    assert evidence.of(place_of(job)).verdict is Verdict.NONE
    assert standing(result, evidence, job) is Standing.UNSEEN


def test_day_or_weekday_is_found_and_taken_with_both_halves(weighed):
    either = days(30, hour=3, only=lambda day: day.day == 1 or day.weekday() == 0)
    result, evidence, job = weighed(cron_row(cron="0 3 1 * 1") + log(either))

    assert evidence.verdict is Verdict.CONTRADICTS
    assert "Read day OR weekday" in evidence.findings[0].text
    assert "30 of 30 starts" in evidence.findings[0].text
    assert job.spec.cron == "0 3 1 * *"
    (second,) = result.second
    assert second.spec.cron.startswith("0 3 2,3,4,")
    assert second.spec.cron.endswith(" * 1")
    assert standing(result, weigh(result), job) is not Standing.SAME


def test_the_two_halves_of_day_or_weekday_are_that_and_never_on_one_day(weighed):
    from datetime import UTC

    from targcc_scheduler.schedules.cron import CronSchedule

    either = days(30, hour=3, only=lambda day: day.day == 1 or day.weekday() == 0)
    result, _, job = weighed(cron_row(cron="0 3 1 * 1") + log(either))
    low, high = (datetime(year, 1, 1, tzinfo=UTC) for year in (2027, 2029))
    first, second = (
        set(CronSchedule.parse(half.spec.cron).between(low, high, UTC))
        for half in (job, result.second[0])
    )

    assert not first & second
    assert {day.date() for day in first | second} == {
        day.date()
        for day in (low + DAY * number for number in range((high - low).days))
        if day.day == 1 or day.weekday() == 0
    }


def test_day_and_weekday_is_found_too_and_settles_the_question(weighed):
    both = days(6, hour=3, only=lambda day: day.day <= 7 and day.weekday() == 0)
    result, evidence, job = weighed(cron_row(cron="0 3 1-7 * 1") + log(both))

    assert evidence.verdict is Verdict.AGREES
    assert evidence.reading.startswith("day AND weekday")
    all_evidence = weigh(result)
    assert [difference.kind for difference in differences(result)] == ["day and weekday"]
    assert unsettled(differences(result), all_evidence) == []
    assert standing(result, all_evidence, job) is Standing.SAME


def test_another_hour_is_found_and_taken(weighed):
    _, evidence, job = weighed(cron_row(cron="0 2 * * *") + log(days(30, hour=4)))

    assert "0 of 30 starts" in evidence.findings[0].text
    assert "Read at 04:00: 30 of 30 starts" in evidence.findings[0].text
    assert evidence.findings[0].examples[-1].hour == 4
    assert evidence.findings[0].chosen == "it comes over at 04:00"
    assert job.spec.cron == "0 4 * * *"
    assert job.theory.cron == "0 2 * * *"


def test_a_schedule_that_was_changed_lately_counts_as_it_is_now(weighed):
    older = days(30, hour=2, until=NOW - 20 * DAY)
    _, evidence, job = weighed(cron_row(cron="0 4 * * *") + log([*older, *days(15, hour=4)]))

    assert evidence.verdict is Verdict.AGREES
    assert "15 of 45 starts came at a time of its schedule, of the last 10 10" in evidence.text
    assert job.spec.cron == "0 4 * * *"


def test_weekly_that_ran_every_day_comes_over_daily(weighed):
    _, evidence, job = weighed(classic_row("Weekly", "2026-01-05T02:00:00") + log(days(40)))

    assert job.spec.cron == "0 2 * * *"
    assert "every day" in evidence.reading


def test_weekly_that_ran_on_its_weekday_only_comes_over_so(weighed):
    mondays = days(20, only=lambda day: day.weekday() == 0)
    _, evidence, job = weighed(classic_row("Weekly", "2026-01-05T02:00:00") + log(mondays))

    assert job.spec.cron == "0 2 * * MON"
    assert "Monday" in evidence.reading


def test_a_job_dead_since_2019_comes_over_paused(weighed):
    old = days(20, until=datetime(2019, 3, 5))  # noqa: DTZ001 - wall time
    result, evidence, job = weighed(ALIVE + cron_row() + log(old))

    (finding,) = evidence.findings
    assert finding.kind == "dead"
    assert finding.text.startswith("it has not run since Mon 4 Mar 2019 02:00: 2,8")
    assert finding.chosen == "it comes over paused"
    assert job.spec.paused
    assert job in result.inactive
    assert standing(result, weigh(result), job) is not Standing.SAME


def test_a_dead_job_of_a_cycle_is_found_too(weighed):
    row = classic_row("CyclicMin", count=10, LastRunTime="'2019-03-04T02:00:00'")
    _, evidence, job = weighed(ALIVE + row)

    assert kinds(evidence) == ["dead"]
    assert job.spec.paused


def test_of_an_old_export_no_job_is_called_dead(weighed):
    old = days(20, until=datetime(2019, 3, 5))  # noqa: DTZ001 - wall time
    other = cron_row(number=2, name="Other") + log(old, job=2, first=500)
    _, evidence, job = weighed(cron_row() + log(old) + other)

    assert evidence.verdict is Verdict.AGREES
    assert not job.spec.paused


def test_where_nothing_else_ran_a_dead_job_is_named_and_not_paused(weighed):
    old = days(20, until=datetime(2019, 3, 5))  # noqa: DTZ001 - wall time
    _, evidence, job = weighed(cron_row() + log(old))

    assert kinds(evidence) == ["dead"]
    assert "no other job ran since either" in evidence.findings[0].text
    assert not job.spec.paused


def test_starts_by_hand_each_monday_are_told_apart(weighed):
    mondays = days(12, hour=9, minute=5, only=lambda day: day.weekday() == 0)
    history = log(days(84)) + log(mondays, by="dana", first=200)
    _, evidence, job = weighed(cron_row() + history)

    assert evidence.verdict is Verdict.AGREES
    assert evidence.findings[0].text == (
        "12 of 96 starts were by hand by dana, 12 of them on Mondays, at 09:05"
    )
    assert job.spec.cron == "0 2 * * *"


def test_a_manual_job_started_each_monday_says_so(weighed):
    mondays = days(12, hour=9, minute=5, only=lambda day: day.weekday() == 0)
    _, evidence, job = weighed(classic_row("Daily", IsManaged=0) + log(mondays, by="dana") + ALIVE)

    assert job.spec.type == "manual"
    assert evidence.findings[0].text == (
        "it has no schedule, and was started 12 times by dana, 12 of them on Mondays, at 09:05"
    )


def test_a_row_that_is_off_and_ran_yesterday_is_named(weighed):
    _, evidence, _ = weighed(cron_row(active=0) + log(days(9)) + ALIVE)

    assert "off but running" in kinds(evidence)


def test_runs_longer_than_the_interval_are_counted_with_the_true_rhythm(weighed):
    starts = [NOW - timedelta(minutes=10 * number) for number in range(60, 0, -1)]
    _, evidence, _ = weighed(
        cron_row(cron="*/5 * * * *") + log(starts, seconds=lambda n: 540 if n % 2 else 60)
    )
    (finding,) = [candidate for candidate in evidence.findings if candidate.kind == "too long"]

    assert finding.text == (
        "30 of 60 runs took longer than the 5 min to the next time, the longest 9 min; in truth it started every 10 min"
    )


def test_a_job_that_always_fails_says_since_when_and_with_what(weighed):
    history = log(
        days(30), result=lambda n: "Success" if n == 1 else "Failure", remarks="'Login failed'"
    )
    _, evidence, _ = weighed(cron_row() + history)
    (finding,) = [candidate for candidate in evidence.findings if candidate.kind == "keeps failing"]

    assert finding.text.startswith("29 of its last 30 runs failed; the last success was on")
    assert 'most often it said "Login failed" (29 times)' in finding.text


def test_a_procedure_that_always_ran_into_its_thirty_seconds_says_so(weighed):
    _, evidence, _ = weighed(cron_row() + log(days(9), result="Failure", seconds=30))

    assert "all ended at 30 s" in evidence.findings[0].text


def test_failures_of_days_at_a_months_end_are_the_known_fault(weighed):
    new_year = datetime(2026, 1, 1, 5, 0, 3)  # noqa: DTZ001 - wall time
    ends = [
        new_year.replace(month=month, day=day)
        for month, day in ((2, 28), (4, 30), (6, 30), (9, 30))
    ]
    good = [new_year.replace(month=month, day=31) for month in (1, 3, 5, 7, 8, 10)]
    history = log(ends, result="Failure", seconds=86_400 + 3_600)
    history += log(good, first=50)
    _, evidence, _ = weighed(classic_row("Monthly", "2025-01-31T05:00:00") + history)
    (finding,) = [candidate for candidate in evidence.findings if candidate.kind == "month end"]

    assert finding.text.startswith("4 failures of 1 d 1 h to 1 d 1 h at the end of a short month")
    assert "hung" not in kinds(evidence)


def test_runs_that_waited_for_others_of_their_runner_are_on_time(weighed):
    first, second = days(20), days(20, minute=45)
    rows = classic_row("Daily", "2024-01-01T02:00:00") + classic_row(
        "Daily", "2024-01-01T02:00:00", ID=2, lkpJob="'Second'"
    )
    history = log(first, seconds=45 * 60) + log(second, job=2, first=500)
    _, evidence, job = weighed(rows + history, row="2")

    assert evidence.verdict is Verdict.AGREES
    assert job.spec.cron == "0 2 * * *"


def test_the_rows_own_times_are_evidence_where_nothing_was_logged(bring):
    row = (
        "INSERT c_Job (ID, JobName, CronExpression, StoredProcName, IsActive, LastRun, NextRun) VALUES"
        " (1, 'A', '0 3 1 * 1', 'dbo.A', 1, '2026-11-23T03:00:20', '2026-12-01T03:00:00')\n"
    )
    result = bring(row)
    evidence = weigh(result)
    (job,) = result.jobs

    assert "fit if it is read day OR weekday" in evidence.of(place_of(job)).text
    assert len(result.second) == 1


def test_hybrid_rows_are_weighed_and_left_as_they_are(bring):
    result = bring(cron_row() + log(days(30, hour=4)))
    before = list(result.jobs)
    evidence = weigh(result, choose=False)

    assert result.jobs == before
    assert evidence.of(place_of(before[0])).findings[0].chosen == ""


def test_the_history_of_another_hour_is_not_mixed_up_with_noise(weighed):
    noise = [
        NOW - timedelta(hours=7 * number, minutes=number * 13 % 60) for number in range(40, 0, -1)
    ]
    _, evidence, job = weighed(cron_row() + log(noise))

    assert evidence.verdict is Verdict.CONTRADICTS
    assert "its history supports no reading of it" in evidence.findings[0].text
    assert job.spec.cron == "0 2 * * *"


def test_a_cycle_from_its_own_starts_is_held_against_their_gaps(weighed):
    every = [NOW - timedelta(minutes=10, seconds=1) * number for number in range(50, 0, -1)]
    _, evidence, _ = weighed(classic_row("CyclicMin", count=10) + log(every))
    assert evidence.verdict is Verdict.AGREES

    for other in (2, 40):
        _, evidence, _ = weighed(classic_row("CyclicMin", count=other) + log(every))
        assert evidence.verdict is Verdict.CONTRADICTS
        assert f"its interval is {other} min" in evidence.text


@pytest.mark.parametrize(
    "when", ["0001-01-01T00:00:00", "1900-01-01T00:00:00", "9999-12-31T23:59:59"]
)
def test_a_time_that_stands_for_none_is_no_evidence(bring, when):
    row = (
        "INSERT c_Job (ID, JobName, CronExpression, StoredProcName, IsActive, LastRun, NextRun) VALUES"
        f" (1, 'A', '0 3 * * *', 'dbo.A', 1, '{when}', '{when}')\n"
    )
    result = bring(row + log([datetime.fromisoformat(when)]) + ALIVE)
    evidence = weigh(result)
    job = next(candidate for candidate in result.jobs if candidate.old.id == "1")

    assert evidence.of(place_of(job)).verdict is Verdict.NONE
    assert not job.spec.paused
