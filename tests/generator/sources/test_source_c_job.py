"""Result of each row: a job, an inactive job, or a rejected row with its reason."""

from datetime import datetime, timedelta

import pytest
from c_job_rows import classic_row, cron_row
from targcc_gen.errors import InputError
from targcc_gen.sources.c_job.classic_rows import queue_names
from targcc_gen.sources.c_job.companions import load_procedure_map, procedure_name
from targcc_gen.spec import parse_spec


def given(job):
    """Return the values set in the job's spec, without the names."""
    return job.spec.model_dump(exclude_unset=True, exclude={"name", "display_name"})


def only(result):
    (job,) = result.all_jobs
    return job


def reason(result):
    (rejection,) = result.rejected
    return rejection.reason


def wall(*parts):
    """Return a time on the old server's wall clock."""
    return datetime(*parts)  # noqa: DTZ001 - it has no zone


# --- The cron shape ---------------------------------------------------------------------------------------------------


def test_a_row_becomes_a_job_that_calls_its_procedure_under_its_old_name(bring):
    job = only(bring(cron_row(name="O'Brien's nightly load")))

    assert job.key == "OBriensNightlyLoad"
    assert (job.spec.name, job.spec.display_name) == (
        "O'Brien's nightly load",
        "O'Brien's nightly load",
    )
    assert given(job) == {
        "cron": "0 2 * * *", "blueprint": "stored-procedure", "procedure": "dbo.usp_Nightly", "retries": 0,
        "misfire": {"grace": "none"},
    }  # fmt: skip


def test_a_name_that_is_a_key_needs_no_second_one(bring):
    job = only(bring(cron_row(name="NightlyLoad")))

    assert (job.key, job.spec.name) == ("NightlyLoad", None)


@pytest.mark.parametrize("active", ["0", "NULL"])
def test_an_inactive_row_is_created_paused(bring, active):
    result = bring(cron_row(active=active))

    assert not result.jobs
    assert result.inactive[0].spec.paused


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (cron_row(cron="0 2 * *"), 'cron "0 2 * *": 4 fields instead of 5 or 6'),
        (cron_row(cron="0 25 * * *"), "hour 25 is not between 0 and 23"),
        (cron_row(cron="0 0 30 2 *"), "it never runs"),
        (cron_row(cron=None), "it has no CronExpression"),
        (cron_row(name=None), "it has no JobName"),
        (cron_row(name=" "), "it has no JobName"),
        ("INSERT c_Job (ID, JobName, CronExpression) VALUES (1, NEWID(), '0 2 * * *')", "NEWID() is known to the old server"),
        ("INSERT c_Job (ID, Colour) VALUES (1, 'red')", "of no known c_Job"),
        ("INSERT c_Job (ID, JobName) VALUES (1)", "1 values for 2 columns"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_a_job_is_rejected_with_its_place_and_reason(bring, row, words):
    result = bring(row)

    assert words in reason(result)
    assert (result.rejected[0].file[-5:], result.rejected[0].line) == ("0.sql", 1)


@pytest.mark.parametrize(
    ("dialect", "text", "cron"),
    [
        ("cronos", "0 2 * * *", "0 2 * * *"),
        ("quartz", "0 0 2 ? * 2", "0 2 * * 1"),
        ("ncrontab", "0 2 * January *", "0 2 * 1 *"),
        ("vixie", "0 2 * * 1-5", "0 2 * * 1-5"),
    ],
)
def test_other_dialects_become_our_cron(bring, dialect, text, cron):
    assert only(bring(cron_row(cron=text), dialect=dialect)).spec.cron == cron


def test_vixies_day_or_weekday_is_no_single_cron(bring):
    assert "Split it into two jobs" in reason(bring(cron_row(cron="0 2 1 * 1"), dialect="vixie"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("usp_A", "usp_A"),
        ("[dbo].[Daily Load]", "[dbo].[Daily Load]"),
        ("EXEC dbo.usp_A;", "dbo.usp_A"),
        ("dbo.Daily Load", "dbo.[Daily Load]"),
        ("Shop..usp_A", "Shop..usp_A"),
        ("dbo.usp_A @day = 1", None),
        ("usp_A; DROP TABLE x", None),
        ("", None),
    ],
)
def test_a_procedures_name_is_taken_and_quoted_but_never_more_than_a_name(text, name):
    assert procedure_name(text) == name


def test_a_row_whose_work_is_no_procedure_becomes_a_job_that_says_so(bring):
    result = bring(cron_row(proc="dbo.usp_A @day = 1"), cron_row(number=2, name="Idle", proc=None))
    calls, idle = result.jobs

    assert given(calls)["blueprint"] == given(idle)["blueprint"] == "not-ported"
    assert "dbo.usp_A @day = 1" in given(calls)["description"]
    assert any("more than a procedure's name" in text for text in result.warnings)


RECIPIENTS = """INSERT c_JobAlertRecipient (ID, JobID, Email) VALUES (1, 1, 'ann@example.com; bob@example.com'), (2, 1, 'ANN@example.com'),
(3, 1, 'nobody'), (4, 9, 'lost@example.com')"""


def test_recipients_get_the_failures_each_once(bring):
    result = bring(cron_row(email=1), RECIPIENTS)

    assert only(result).spec.alerts.email == ("ann@example.com", "bob@example.com")
    assert only(result).spec.alerts.on == ("failure",)
    assert any('"nobody" is no mail address' in text for text in result.warnings)
    assert any(
        "1 recipients belong to jobs that are not in the export" in text for text in result.warnings
    )


def test_without_email_on_failure_nobody_is_mailed_and_without_recipients_the_fallback_is(bring):
    assert only(bring(cron_row(email=0), RECIPIENTS)).spec.alerts is None
    assert only(bring(cron_row(email=1))).spec.alerts is None
    assert only(bring(cron_row(email=1), alert_email=("ops@example.com",))).spec.alerts.email == (
        "ops@example.com",
    )


# --- Repeats and contradictions ---------------------------------------------------------------------------------------


def test_the_same_row_in_two_files_is_taken_once(bring):
    result = bring(cron_row(), cron_row())

    assert len(result.jobs) == 1
    assert "repeats" in reason(result)
    assert "0.sql:1" in reason(result)


def test_two_files_that_contradict_each_other_are_both_rejected_and_name_each_other(bring):
    result = bring(cron_row(), "\n" + cron_row(cron="0 3 * * *"))
    first, second = result.rejected

    assert not result.all_jobs
    assert '1.sql:2: cronexpression is "0 2 * * *" here and "0 3 * * *" there' in first.reason
    assert '0.sql:1: cronexpression is "0 3 * * *" here and "0 2 * * *" there' in second.reason


def test_exports_of_two_days_differ_in_what_the_server_wrote_and_still_agree(bring):
    first = "INSERT c_Job (ID, JobName, CronExpression, IsActive, FailureCount) VALUES (1, 'A', '0 2 * * *', 1, 0)"
    result = bring(first, first.replace("1, 0)", "True, 7)").replace("True", "'True'"))

    assert len(result.jobs) == 1


def test_two_rows_of_one_table_with_one_name_are_two_jobs(bring):
    result = bring(cron_row() + cron_row(number=2, cron="0 3 * * *"))

    assert [(job.key, job.stable_name) for job in result.jobs] == [
        ("NightlyLoad", "Nightly load"), ("NightlyLoad2", "Nightly load (2)"),
    ]  # fmt: skip


def test_one_id_for_two_jobs_is_a_contradiction_only_if_something_speaks_of_the_id(bring):
    two = cron_row(), cron_row(name="Other")

    assert len(bring(*two).jobs) == 2
    assert not bring(*two, RECIPIENTS).all_jobs


def test_names_that_would_meet_are_kept_apart(bring):
    names = ["Foo Bar", "FooBar", "foo-bar!", "日本", "123 go", "class", "x" * 100]
    result = bring("".join(cron_row(number=number, name=name) for number, name in enumerate(names)))

    assert len(result.jobs) == len(names)
    assert [job.stable_name for job in result.jobs] == names
    for job in result.jobs:
        others = {other.stable_name.casefold() for other in result.jobs if other is not job}
        assert job.key.casefold() not in others


def test_a_project_that_has_the_job_keeps_its_key_and_another_zone_is_written_down(bring):
    project = parse_spec(
        'targcc: 1\nproject: {name: acme}\njobs:\n  Load: {cron: "0 2 * * *", name: Nightly load}\n  Other: {type: manual}\n',
        "targcc.yaml",
    )
    result = bring(cron_row() + cron_row(number=2, name="other!"), project=project)

    assert [job.key for job in result.jobs] == ["Load", "Other2"]
    assert result.jobs[0].spec.timezone == "Asia/Jerusalem"


# --- The classic shape ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "schedule"),
    [
        (classic_row("Daily"), {"cron": "30 2 * * *"}),
        (classic_row("Daily", when=None), {"cron": "0 0 * * *"}),
        (classic_row("Weekly"), {"cron": "30 2 * * *"}),
        (classic_row("Monthly"), {"cron": "30 2 6 * *"}),
        (classic_row("Monthly", when="2024-01-30T02:00:00"), {"cron": "0 2 30 * *"}),
        (classic_row("Monthly", when="2024-01-31T02:00:00"), {"cron": "0 2 L * *"}),
        (classic_row("Annually"), {"cron": "30 2 6 MAR *"}),
        (classic_row("CyclicDay", count=1), {"cron": "30 2 * * *"}),
        (
            classic_row("CyclicDay", count=3, NextRunTime="'2026-11-26T02:30:00'", LastRunTime="'2026-11-24T00:10:00'"),
            {"every": timedelta(days=3), "anchor": wall(2026, 11, 26, 2, 30)},
        ),
        (
            classic_row("CyclicDay", count=3, LastRunTime="'2026-11-20T05:00:00'"),
            {"every": timedelta(days=3), "anchor": wall(2026, 11, 20, 2, 30)},
        ),
        (classic_row("CyclicDay", count=3), {"every": timedelta(days=3), "anchor": wall(2024, 3, 6, 2, 30)}),
        (classic_row("CyclicHour", count=1), {"cron": "30 * * * *"}),
        (classic_row("CyclicHour", count=6, NextRunTime="'2026-11-20T15:30:00'"), {"cron": "30 3,9,15,21 * * *"}),
        (classic_row("CyclicHour", count=6, LastRunTime="'2026-11-20T12:30:00'"), {"cron": "30 0,6,12,18 * * *"}),
        (classic_row("CyclicHour", count=24), {"cron": "30 2 * * *"}),
        (
            classic_row("CyclicHour", count=5, NextRunTime="'2026-11-26T04:30:00'", LastRunTime="'2026-11-26T00:10:00'"),
            {"every": timedelta(hours=5), "anchor": wall(2026, 11, 26, 4, 30)},
        ),
        (classic_row("CyclicMin", when=None, count=10), {"every": timedelta(minutes=10), "after": "start"}),
        (classic_row("CyclicSec", when=None, count=45), {"every": timedelta(seconds=45), "after": "start"}),
        (
            classic_row("OneOff", when="2024-01-01T08:00:00", NextRunTime="'2027-01-25T08:00:00'"),
            {"at": wall(2027, 1, 25, 8)},
        ),
        (classic_row("OneOff", when="2027-01-01T08:00:00"), {"type": "manual"}),
        (classic_row("OneOff", NextRunTime="'2026-11-01T08:00:00'"), {"type": "manual"}),
        (classic_row("OneOff", Active=0, LastRunTime="'2026-11-20T12:30:00'"), {"type": "manual"}),
        (classic_row("Daily", IsManaged=0), {"type": "manual"}),
        (classic_row("Daily", IsManaged="NULL"), {"type": "manual"}),
    ],
)  # fmt: skip
def test_each_kind_of_the_old_runner_has_its_nearest_schedule(bring, row, schedule):
    spec = given(only(bring(row)))

    assert {key: spec.get(key) for key in schedule} == schedule
    assert not {"cron", "every", "at", "type"} & spec.keys() - schedule.keys()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            classic_row("CyclicMin", count=0),
            "CyclicCount is 0: the old runner logged fault 127",
        ),
        (classic_row("CyclicHour", count=-2), "CyclicCount is -2"),
        (classic_row("CyclicDay"), "CyclicCount is NULL"),
        (
            classic_row("CyclicDay", count=2147483647),
            "CyclicCount is 2147483647: that is more than a hundred years",
        ),
        (
            classic_row("Daily", when=None, WhenToRun="GETDATE()"),
            "whentorun is GETDATE(), which only the old server knew",
        ),
        (classic_row("UD"), 'enmJobType "UD" is no kind of schedule'),
        (
            classic_row(DeletedOn="CAST(N'2025-01-02T03:04:05' AS DateTime)"),
            "it was deleted on 2025-01-02",
        ),
        (classic_row(lkpJob="'ImAlive'"), "ImAlive is built into TaskManager"),
        (classic_row(lkpJob="'imalive'"), "imalive is built into TaskManager"),
        (classic_row(lkpJob="'ScanJobs'"), "ScanJobs is built into TaskManager"),
        (classic_row(lkpJob="'MoveAudits'"), "MoveAudits is built into TaskManager"),
        (classic_row(lkpJob="NULL"), "it has no lkpJob"),
    ],
)
def test_what_the_old_runner_never_ran_is_rejected(bring, row, words):
    assert words in reason(bring(row))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (classic_row("Weekly"), "runs it every day at 02:30, not only on Wednesday; so does the new job"),
        (classic_row("Monthly", when="2024-01-31T02:00:00"), "on each month's last day, too, and nothing hangs"),
        (classic_row("Monthly", when="2024-01-29T02:00:00"), "only in months that have the day"),
        (classic_row("Annually", when="2024-02-29T02:00:00"), "could not store its end, and hung"),
        (classic_row("CyclicDay", count=3, LastRunTime="'2026-11-20T05:00:00'"), "NextRunTime is NULL: counted from LastRunTime"),
        (classic_row("CyclicHour", count=3), "it has neither NextRunTime nor LastRunTime"),
        (classic_row(IsManaged=0), "IsManaged is 0: TaskManager did not run it"),
        (classic_row(IsManaged="NULL"), "IsManaged is NULL: TaskManager did not run it"),
        (classic_row(), "no recipient: the old server wrote to its administrator"),
        (classic_row(SendNotificationOnSuccess=1), "now each success"),
        (classic_row(TimeOutSec=90), "TimeOutSec 90 stopped nothing on the old server"),
        (classic_row("OneOff", NextRunTime="'2026-11-01T08:00:00'"), "the old runner would run it at once"),
        (classic_row("OneOff", NextRunTime="'9999-12-31T00:00:00'"), "is the end of the calendar"),
        (classic_row("OneOff", NextRunTime="'0001-01-01T00:00:00'"), "NextRunTime is NULL"),
        (classic_row("OneOff"), "NextRunTime is NULL: the next scan would set it to 2024-03 on the day of that scan"),
        (classic_row("OneOff", Active=0, LastRunTime="'2026-11-20T12:30:00'"), "it ran on 2026-11-20 and is switched off"),
        (classic_row(lkpJob="'mnTM_Load'"), "gave its procedure 30 s"),
        (classic_row(lkpJob="'UnlockUsers'"), "it stops with TaskManager"),
        (classic_row(lkpJob="'DeleteOldLogs'"), "that part needs a new home"),
        (classic_row(lkpJob="'backupdb'"), "TaskManager has BackupDB built in, but not in this spelling"),
    ],
)  # fmt: skip
def test_what_comes_over_differently_is_said(bring, row, words):
    assert any(words in text for text in bring(row).warnings)


def test_history_tells_whether_people_were_used_to_the_weekly_fault(bring):
    log = "".join(
        f"INSERT c_LoggedJob (ID, c_JobID, WhenStarted, enmRunStatus_JobStatus) VALUES ({day}, 1, '2024-03-{day:02}T02:30:00', 'Success')\n"
        for day in range(1, 15)
    )
    warnings = bring(classic_row("Weekly"), log).warnings

    assert any("of 14 logged runs, 12 were on other days" in text for text in warnings)


def test_timeout_alerts_and_text_come_along(bring):
    row = classic_row(
        TimeOutSec=90, SendAlarmOnMissed=1, SendNotificationOnSuccess=1, Description="N'Loads'", Instructions="N'Ask Ann'",
    )  # fmt: skip
    people = """INSERT c_JobAlertRecipient (ID, c_JobID, c_UserID, enmJobAlertType, OverrideName, OverrideEmailOrPhone) VALUES
        (1, 1, 5, 'email', NULL, NULL), (2, 1, 5, 'email', 'Boss', 'boss@example.com'), (3, 1, 6, 'SMS', NULL, NULL), (4, 1, 7, 'email', NULL, NULL)
        INSERT c_User (ID, FullName, Email) VALUES (5, 'Ann', 'ann@example.com')"""
    result = bring(row, people)
    spec = only(result).spec

    assert spec.timeout is None
    assert (spec.alerts.on, spec.alerts.email) == (
        ("failure", "success", "missed"),
        ("ann@example.com", "boss@example.com"),
    )
    assert spec.blueprint == "not-ported"
    assert (
        spec.description
        == "Loads\n\nInstructions: Ask Ann\n\nTaskManager's code: NightlyLoad (runner SRV01)"
    )
    assert any("recipient by sms" in text for text in result.warnings)
    assert any("user 7, who is not in the export" in text for text in result.warnings)


@pytest.mark.parametrize(
    ("code", "procedure"),
    [
        ("mnTM_Load", "mnTM_Load"),
        ("MNTM_LOAD", "MNTM_LOAD"),
        ("mnTM_Daily Load", "[mnTM_Daily Load]"),
        ("BackupDB", "c__BackupDatabase"),
        ("ReorganizeIndexes", "c__ReorganizeIndexes"),
        ("DeleteOldLogs", "c__CleanLogs"),
        ("UnlockUsers", None),
        ("backupdb", None),
    ],
)
def test_a_code_that_task_manager_knew_calls_its_procedure(bring, code, procedure):
    assert only(bring(classic_row(lkpJob=f"'{code}'"))).spec.procedure == procedure


@pytest.mark.parametrize(
    ("weekly", "cron"),
    [("every-day", "30 2 * * *"), ("as-meant", "30 2 * * WED"), ("repaired", "30 2 * * WED")],
)
def test_the_owner_decides_about_weekly(bring, weekly, cron):
    assert only(bring(classic_row("Weekly"), weekly=weekly)).spec.cron == cron


def test_jobs_come_over_as_the_old_server_treated_them(bring):
    project = parse_spec(
        "targcc: 1\nproject: {name: acme, timezone: Asia/Jerusalem}\ndefaults: {timeout: 1h}\n"
    )
    spec = only(bring(classic_row(TimeOutSec=90), project=project)).spec

    assert (spec.retries, spec.timeout) == (0, "none")
    assert (spec.misfire.policy, spec.misfire.grace) == ("run_once", "none")


def test_jobs_of_one_runner_are_in_one_queue(bring):
    rows = classic_row(lkpJobRunner="N'Srv-01\\tasks'") + classic_row(ID=2, lkpJob="'Other'")
    rows += classic_row(ID=3, lkpJob="'Asked'", IsManaged=0)
    result = bring(rows)

    assert [job.spec.queue for job in result.jobs] == ["srv-01-tasks", "srv01", None]
    assert result.queues == {"srv-01-tasks": 1, "srv01": 1}
    assert bring(rows, runner_workers=3).queues == {"srv-01-tasks": 3, "srv01": 3}


def test_runners_that_would_share_a_queues_name_get_one_each():
    names = queue_names(["SRV 01", "srv-01", "01", "default", "שרת"])

    assert names == {"01": "runner-01", "SRV 01": "srv-01", "default": "default-2", "srv-01": "srv-01-2", "שרת": "runner"}  # fmt: skip


def test_one_code_on_two_runners_is_two_jobs(bring):
    result = bring(classic_row() + classic_row(ID=2, lkpJobRunner="'SRV02'"))

    assert [job.stable_name for job in result.jobs] == [
        "NightlyLoad (SRV01)",
        "NightlyLoad (SRV02)",
    ]


def test_a_procedure_map_names_the_work(bring, tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("nightlyload: dbo.usp_Nightly\nOther: usp_Other\n")
    result = bring(classic_row(), procedures=load_procedure_map(path))

    assert only(result).spec.procedure == "dbo.usp_Nightly"
    assert '--procedure-map: no job has the code "other"' in result.warnings


@pytest.mark.parametrize(
    ("text", "words"),
    [("- a", "not a mapping"), ("a: [", r"map\.yaml:2:1: not YAML"), ("a: 'x; DROP'", "no name of a procedure"), ("a:", "no name")],
)  # fmt: skip
def test_a_procedure_map_that_is_wrong_is_refused(tmp_path, text, words):
    path = tmp_path / "map.yaml"
    path.write_text(text + "\n")

    with pytest.raises(InputError, match=words):
        load_procedure_map(path)


@pytest.mark.parametrize(
    ("bit", "active"),
    [("1", True), ("0", False), ("0x01", True), ("0x00", False), ("'True'", True)],
)
def test_a_bit_is_known_however_it_is_written(bring, bit, active):
    result = bring(cron_row(active=bit))

    assert [len(result.jobs), len(result.inactive)] == [active, not active]
    assert not result.warnings


LOG = "INSERT c_LoggedJob (ID, C_JobID, WhenStarted, enmRunStatus_JobStatus) VALUES "


def test_rows_of_the_history_that_are_no_past_run_are_counted_and_named(bring):
    script = cron_row() + LOG + "(1, 1, NULL, 'Success'), (2, 1, '2026-01-02', 'InProcess'),\n"
    script += "(3, 1, GETDATE(), 'Success'),\n(4, 1, '2026-01-03', 'Success')\n"

    result = bring(script)

    file = result.files[0].name
    assert result.history.rows == 4
    assert list(result.warnings) == [
        f"c_LoggedJob: 1 row without a date left out: {file}:2",
        f"c_LoggedJob: 1 row of runs that had not ended left out: {file}:2",
        f"c_LoggedJob: 1 row with a date that cannot be read left out: {file}:3",
    ]


def test_of_many_rows_that_are_left_out_the_first_are_named(bring):
    result = bring(cron_row() + "".join(f"{LOG}({n}, 1, NULL, 'Success')\n" for n in range(1005)))

    assert str(result.history.left_out["without a date"]).endswith(":4 and 1,002 more")


@pytest.mark.parametrize("name", ["גיבוי לילי", "نسخ احتياطي", "Backup לילי"])
def test_a_name_without_vowels_becomes_the_number_of_its_row_and_stays_the_display_name(
    bring, name
):
    job = only(bring(cron_row(number=247, name=name)))

    assert (job.key, job.spec.name, job.spec.display_name) == ("Job247", name, name)


def test_a_job_that_the_project_has_under_a_spelled_key_keeps_that_key(bring):
    text = 'targcc: 1\nproject: {name: shop}\njobs: {GyvvyLyly: {cron: "0 5 * * *", name: גיבוי לילי}}\n'

    job = only(
        bring(cron_row(number=247, name="גיבוי לילי"), project=parse_spec(text, "targcc.yaml"))
    )

    assert job.key == "GyvvyLyly"
