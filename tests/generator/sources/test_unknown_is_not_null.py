"""An unreadable cell is unknown, and a missing cell of XML and JSON is NULL: neither becomes a schedule or a live job without a message."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from c_job_rows import classic_row, cron_row
from targcc_gen.readers.exports import read_exports
from targcc_gen.sources.c_job.source import CJobSource
from targcc_gen.sources.model import Options

ZONE = ZoneInfo("Asia/Jerusalem")
NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
LOG = "INSERT c_LoggedJob (ID, c_JobID, WhenStarted, ExecutionTimeSec, enmRunStatus_JobStatus) VALUES "


@pytest.fixture
def bring_file(tmp_path):
    """Return a function that writes an export of any format and imports its rows."""

    def do(text, name, **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        source = CJobSource()
        files = read_exports([path], source.tables, source.take, **options)
        return source.convert(files, Options(ZONE, NOW))

    return do


def reasons(result):
    return [rejection.reason for rejection in result.rejected]


# --- Unreadable cells --------------------------------------------------------------------------------------------------


def test_a_doubtful_date_is_a_rejected_row_and_never_the_first_of_january(bring_file):
    text = "ID,lkpJob,lkpJobRunner,enmJobType,WhenToRun,Active,IsManaged\n1,Load,SRV,Annually,07/11/2016 13:37,1,1\n"

    assert reasons(bring_file(text, "c_Job.csv")) == [
        'whentorun is "07/11/2016 13:37" can be read in several ways: dmy 2016-11-07 or mdy 2016-07-11; --dates says how'
    ]
    (job,) = bring_file(text, "c_Job.csv", dates="dmy").jobs
    assert job.spec.cron == "37 13 7 NOV *"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (classic_row(WhenToRun="'31.31.2024'"), 'whentorun is "31.31.2024", which is no date'),
        (classic_row("CyclicDay", count="'2,5'"), 'cycliccount is "2,5", which is no whole number'),
        (classic_row(Active="'Ja'"), 'active is "Ja", which is neither 0 nor 1'),
        (classic_row(IsManaged="'x'"), 'ismanaged is "x", which is neither 0 nor 1'),
        (classic_row(Active="@on"), "active is @on, which only the old server knew"),
        (classic_row(DeletedOn="GETDATE()"), "deletedon is GETDATE(), which only the old server knew"),
        (
            classic_row("CyclicDay", count=3, NextRunTime="DATEADD(day, 1, GETDATE())"),
            "nextruntime is DATEADD(day , 1 , GETDATE ( )), which only the old server knew",
        ),
        (
            classic_row("CyclicHour", count=5, NextRunTime="NULL", LastRunTime="GETDATE()"),
            "lastruntime is GETDATE(), which only the old server knew",
        ),
        (classic_row("OneOff", NextRunTime="GETDATE()"), "nextruntime is GETDATE(), which only the old server knew"),
        (classic_row("Daily", NextRunTime="'07/11/2026 13:37'"), 'nextruntime is "07/11/2026 13:37" can be read'),
    ],
)  # fmt: skip
def test_a_row_whose_schedule_or_state_is_unknown_is_rejected_with_the_cell(bring, row, reason):
    (actual_reason,) = reasons(bring(row))

    assert actual_reason.startswith(reason)


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (classic_row("Daily", NextRunTime="'soon'"), 'nextruntime is "soon", which is no date; left out'),
        (classic_row("CyclicDay", count=1, LastRunTime="'x'"), 'lastruntime is "x", which is no date; left out'),
    ],
)  # fmt: skip
def test_a_cell_on_which_nothing_depends_is_left_out_and_told(bring, row, word):
    result = bring(row)

    assert len(result.jobs) == 1
    assert any(word in text for text in result.warnings)


def test_mail_whose_bit_cannot_be_read_is_sent(bring):
    recipient = "INSERT c_JobAlertRecipient (JobID, Email) VALUES (1, 'dana@shop.test')\n"
    (job,) = bring(cron_row(email="'J'") + recipient).jobs

    assert job.spec.alerts is not None
    assert job.old.mail_rule == "on failure"


def test_a_recipient_whose_deletion_is_written_unclearly_gets_no_mail(bring):
    recipients = "INSERT c_JobAlertRecipient (JobID, Email, DeletedOn) VALUES (1, 'dana@shop.test', '07/11/2016')\n"
    (job,) = bring(cron_row(email=1) + recipients).jobs

    assert job.spec.alerts is None


def test_rows_of_the_history_that_cannot_be_read_are_counted_and_are_no_runs(bring):
    result = bring(
        classic_row()
        + LOG
        + "(1, 1, '07/11/2016 02:30', 5, 'Success'), (2, 1, '2016-11-08T02:30', 5, 'Aborted'), (3, 1, 'x', 5, 'Success')\n"
    )

    assert {why: rows.count for why, rows in result.history.left_out.items()} == {
        "with a date that can be read in several ways (--dates says how)": 1,
        "with a status that cannot be read": 1,
        "with a date that cannot be read": 1,
    }
    assert result.history.is_empty


@pytest.mark.parametrize(
    ("length", "seconds"),
    [("'0:01:23'", 83), ("'1.02:00:00'", 93600), ("12.4", 12), ("NULL", None)],
)
def test_the_length_of_a_run_is_read_however_it_is_written(bring, length, seconds):
    result = bring(classic_row() + LOG + f"(1, 1, '2016-11-08T02:30', {length}, 'Success')\n")

    (run,) = result.history.of("1", "").log.last()
    assert run.seconds == seconds
    assert not [text for text in result.warnings if "a length that" in text]


def test_a_length_that_cannot_be_read_is_unknown_and_told(bring):
    result = bring(classic_row() + LOG + "(1, 1, '2016-11-08T02:30', 'long', 'Success')\n")

    assert result.history.of("1", "").longest == timedelta(0)
    assert any("1 row with a length that cannot be read" in text for text in result.warnings)


def test_an_unknown_cell_and_null_are_no_repetition(bring):
    first = "INSERT c_Job (ID, JobName, CronExpression, StoredProcName, IsActive) VALUES (1, 'A', '0 2 * * *', {}, 1)\n"
    result = bring(first.format("NULL"), first.format("@procedure"))

    assert [reason.partition(": ")[2] for reason in reasons(result)] == [
        'storedprocname is "NULL" here and "@procedure" there',
        'storedprocname is "@procedure" here and "NULL" there',
    ]


# --- Missing cells of XML and JSON ------------------------------------------------------------------------------------

CLASSIC = {"lkpJobRunner": "SRV", "enmJobType": "Daily", "WhenToRun": "2024-03-06T04:00:00"}


def as_json(rows):
    return json.dumps(rows)


def as_xml(rows):
    cells = (" ".join(f'{name}="{value}"' for name, value in row.items()) for row in rows)
    return "".join(f"<c_Job {attributes}/>" for attributes in cells)


def as_elements(rows):
    cells = ("".join(f"<{name}>{value}</{name}>" for name, value in row.items()) for row in rows)
    return "".join(f"<c_Job>{elements}</c_Job>" for elements in cells)


SPARSE = pytest.mark.parametrize(
    ("write", "name"),
    [(as_json, "c_Job.json"), (as_xml, "c_Job.xml"), (as_elements, "c_Job.xml")],
)


@SPARSE
@pytest.mark.parametrize("column", ["Active", "IsManaged"])
def test_a_cell_that_the_format_left_out_is_null(bring_file, write, name, column):
    """``Active`` NULL: TaskManager never ran the row. Another row proves that the export has the column."""
    full = {"ID": 1, "lkpJob": "Live", "Active": 1, "IsManaged": 1, **CLASSIC}
    left = {key: value for key, value in full.items() if key != column} | {
        "ID": 2,
        "lkpJob": "Never",
    }
    for rows in ([full, left], [left, full]):
        result = bring_file(write(rows), name)
        live = {job.old.name for job in result.jobs if job.spec.has_schedule}
        assert live == {"Live"}


@SPARSE
def test_a_column_that_no_row_has_may_be_null_in_all(bring_file, write, name):
    """``FOR XML`` and ``FOR JSON`` omit NULL: the value is unknown, so no job becomes live."""
    result = bring_file(write([{"ID": 1, "lkpJob": "Load", "IsManaged": 1, **CLASSIC}]), name)

    assert (len(result.jobs), len(result.inactive)) == (0, 1)
    assert any("Active is in no row of the export" in text for text in result.warnings)


@SPARSE
def test_rows_of_the_cron_shape_are_no_more_live_than_they_were(bring_file, write, name):
    row = {"JobName": "Load", "CronExpression": "0 2 * * *", "StoredProcName": "usp_Load"}
    result = bring_file(write([{"ID": 1, **row}]), name)
    assert (len(result.jobs), len(result.inactive)) == (0, 1)

    result = bring_file(
        write([{"ID": 1, **row, "IsActive": 1}, {"ID": 2, **row, "JobName": "Off"}]), name
    )
    assert ([job.old.name for job in result.jobs], [job.old.name for job in result.inactive]) == (
        ["Load"],
        ["Off"],
    )


@SPARSE
def test_columns_of_one_table_say_nothing_about_another(bring_file, write, name):
    rows = [{"ID": 1, "lkpJob": "Load", "Active": 1, "IsManaged": 1, **CLASSIC}]
    (job,) = bring_file(write(rows), name).jobs

    assert set(job.row.values) == {column.lower() for column in rows[0]}


@pytest.mark.parametrize(("last", "live"), [("NULL", False), ("2026-11-24 04:00", True)])
@pytest.mark.parametrize(
    "header",
    [
        "ID,lkpJob,lkpJobRunner,enmJobType,WhenToRun,IsManaged,LastRunTime\n1,Load,SRV,Daily,2024-03-06 04:00,1,",
        "ID,lkpJob,lkpJobRunner,enmJobType,WhenToRun,Active,LastRunTime\n1,Load,SRV,Daily,2024-03-06 04:00,1,",
        "ID,JobName,CronExpression,StoredProcName,LastRun\n1,Load,0 4 * * *,usp_Load,",
    ],
)
def test_a_column_that_a_header_does_not_name_makes_no_row_live_that_never_ran(
    bring_file, header, last, live
):
    result = bring_file(f"{header}{last}\n", "c_Job.csv")

    assert (len(result.jobs), len(result.inactive)) == (live, not live)
    assert any("is not in the export" in text for text in result.warnings)


def test_xsi_nil_is_null(bring_file):
    """``FOR XML RAW, ELEMENTS XSINIL``."""
    row = (
        '<row xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><ID>1</ID><lkpJob>Load</lkpJob><enmJobType>Daily</enmJobType>'
        '<WhenToRun>2024-03-06T04:00:00</WhenToRun><Active xsi:nil="true"/><IsManaged>1</IsManaged></row>'
    )
    result = bring_file(row, "c_Job.xml")

    assert (result.rows, len(result.inactive)) == (1, 1)
    assert result.inactive[0].row.values["active"] is None


def test_a_first_time_that_the_export_does_not_have_is_not_midnight(bring_file):
    text = "ID,lkpJob,lkpJobRunner,enmJobType,Active,IsManaged\n1,Load,SRV,Daily,1,1\n2,Often,SRV,UD,1,1\n"

    assert reasons(bring_file(text, "c_Job.csv"))[0] == "WhenToRun is not in the export"
    rows = [{"ID": 1, "lkpJob": "Load", "enmJobType": "Daily", "Active": 1, "IsManaged": 1}]
    assert reasons(bring_file(as_json(rows), "c_Job.json")) == ["WhenToRun is not in the export"]


def test_a_number_in_a_script_counts_days_as_sql_server_does(bring):
    """Excel's days begin two days earlier."""
    (job,) = bring(classic_row("Annually", WhenToRun="42679")).jobs

    assert job.spec.cron == "0 0 7 NOV *"


def test_a_number_in_json_is_no_date(bring_file):
    rows = [{"ID": 1, "lkpJob": "Load", "Active": 1, "IsManaged": 1, **CLASSIC, "WhenToRun": 42679}]

    assert reasons(bring_file(as_json(rows), "c_Job.json")) == [
        'whentorun is "42679", which is no date'
    ]
