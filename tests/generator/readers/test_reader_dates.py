"""Dates as text: the file, the script or a person shows the order of day, month and year; the reader never guesses."""

from datetime import datetime

import pytest
from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.dates import AmbiguousDateError, orders_of, read_date
from targcc_gen.readers.exports import read_exports
from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job.source import CJobSource
from targcc_gen.sources.c_job.tables import TABLES

HEADER = "ID,lkpJob,lkpJobRunner,enmJobType,WhenToRun,Active,IsManaged\n"
SCRIPT = "INSERT c_Job (ID, lkpJob, enmJobType, WhenToRun) VALUES (1, 'A', 'Annually', {})\n"


def wall(text):
    return datetime.fromisoformat(text)


@pytest.fixture
def read(tmp_path):
    """Return a function that reads an export and returns the job times and the messages about the file."""

    def do(text, name="c_Job.csv", **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        source = CJobSource()
        read_exports([path], source.tables, source.take, **options)
        exported = source.exported
        return [time(row, "whentorun") for row in exported.jobs], list(exported.warnings)

    return do


def time(row, column):
    try:
        return reader_rows.moment(row, column)
    except reader_rows.UnreadableCellError as error:
        return "ambiguous" if error.is_ambiguous else "unreadable"


@pytest.mark.parametrize(
    ("text", "orders", "expected"),
    [
        ("07/11/2016 13:37", "dmy", "2016-11-07T13:37"),
        ("07/11/2016 13:37", "mdy", "2016-07-11T13:37"),
        ("07/11/2016 13:37", "ymd", "2016-07-11T13:37"),
        ("07/11/16", "dmy", "2016-11-07"),
        ("07/11/16", "mdy", "2016-07-11"),
        ("16/11/07", "ymd", "2016-11-07"),
        ("12/12/2016", "dmy mdy", "2016-12-12"),
        ("25/12/2016", "dmy mdy ymd", "2016-12-25"),
        ("12/25/2016", "dmy mdy ymd", "2016-12-25"),
        ("07.11.2016", "dmy mdy ymd", "2016-11-07"),
        ("07.11.2016 13:37:00", "dmy mdy ymd", "2016-11-07T13:37"),
        ("07.11.2016", "mdy", "2016-07-11"),
        ("11/7/2016 1:37:00 PM", "dmy mdy ymd", "2016-11-07T13:37"),
        ("11/7/2016, 1:37:00 PM", "dmy mdy ymd", "2016-11-07T13:37"),
        ("11/7/2016 1:37:00 PM", "dmy", "2016-07-11T13:37"),
        ("12/1/2016 12:05 AM", "mdy", "2016-12-01T00:05"),
        ("2016-11-07 13:37", "dmy", "2016-11-07T13:37"),
        ("20161107", "dmy", "2016-11-07"),
        ("Nov  7 2016  1:37PM", "dmy", "2016-11-07T13:37"),
    ],
)
def test_a_date_is_read_in_the_orders_that_it_may_have(text, orders, expected):
    assert read_date(text, orders.split()) == wall(expected)


@pytest.mark.parametrize(
    "text", ["07/11/2016", "7-11-2016 13:37", "07/11/16", "07.11.16", "1/2/03"]
)
def test_a_date_that_can_be_read_in_several_ways_is_not_read(text):
    with pytest.raises(AmbiguousDateError):
        read_date(text)


@pytest.mark.parametrize(
    ("text", "orders"),
    [("25/12/2016", "mdy"), ("12/25/2016", "dmy"), ("31/11/2016", "dmy"), ("x", "dmy"), ("13/13/2016", "dmy mdy ymd")],
)  # fmt: skip
def test_what_is_no_date_in_its_order_is_not_read(text, orders):
    with pytest.raises(ValueError, match="is no date"):
        read_date(text, orders.split())


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("07/11/2016", "dmy mdy"),
        ("25/12/2016", "dmy"),
        ("12/25/2016 1:00 AM", "mdy"),
        ("16/12/25", "dmy ymd"),
        ("25/12/99", "dmy"),
    ],
)
def test_the_orders_that_a_date_allows(text, orders):
    assert orders_of(text) == set(orders.split())


@pytest.mark.parametrize("text", ["2016-11-07", "20161107", "Nov 7 2016", "x", "13/13/2016", ""])
def test_a_text_whose_order_does_not_matter_shows_none(text):
    assert orders_of(text) is None


@pytest.mark.parametrize("proof", ["25/12/2016 02:00", "31-01-2016"])
@pytest.mark.parametrize("first", [True, False])
def test_one_cell_shows_the_order_of_all_dates_of_its_file(read, proof, first):
    """Also when the cell comes after the doubtful dates."""
    doubtful = "1,A,SRV,Annually,07/11/2016 13:37,1,1\n"
    clear = f"2,B,SRV,Daily,{proof},1,1\n"
    times, remarks = read(HEADER + (clear + doubtful if first else doubtful + clear))

    assert wall("2016-11-07T13:37") in times
    assert f'its dates are read as day, month, year, as "{proof}" in line' in remarks[0]


def test_a_cell_of_the_history_shows_the_order_too(tmp_path):
    path = tmp_path / "log.sql"
    path.write_text(
        SCRIPT.format("'07/11/2016 13:37'")
        + "INSERT c_LoggedJob (ID, c_JobID, WhenStarted) VALUES (1, 1, '25/12/2016 13:37'), (2, 1, '01/02/2017')\n"
    )
    source = CJobSource()
    read_exports([path], TABLES, source.take)

    assert reader_rows.moment(source.exported.jobs[0], "whentorun") == wall("2016-11-07T13:37")
    assert source.exported.history.of("1", "").log.latest() == wall("2017-02-01")


def test_dates_of_several_orders_in_one_file_prove_nothing(read):
    times, remarks = read(
        HEADER
        + "1,A,SRV,Daily,25/12/2016,1,1\n2,B,SRV,Daily,12/25/2016,1,1\n3,C,SRV,Daily,07/11/2016,1,1\n"
    )

    assert times == [wall("2016-12-25"), wall("2016-12-25"), "ambiguous"]
    assert (
        'its dates have several orders: "25/12/2016" in line 2 and "12/25/2016" in line 3'
        in remarks[0]
    )


@pytest.mark.parametrize(
    ("dates", "expected"),
    [(None, "ambiguous"), ("dmy", wall("2016-11-07")), ("mdy", wall("2016-07-11"))],
)
def test_a_person_decides_where_no_cell_does(read, dates, expected):
    times, _ = read(HEADER + "1,A,SRV,Annually,07/11/2016,1,1\n", dates=dates)

    assert times == [expected]


def test_a_date_that_contradicts_the_person_is_unreadable(read):
    times, _ = read(HEADER + "1,A,SRV,Annually,25/12/2016,1,1\n", dates="mdy")

    assert times == ["unreadable"]


@pytest.mark.parametrize("text", ["07.11.2016 13:37", "11/7/2016 1:37:00 PM"])
def test_a_form_that_shows_its_order_is_read_and_told(read, text):
    times, remarks = read(HEADER + f"1,A,SRV,Annually,{text},1,1\n")

    assert times == [wall("2016-11-07T13:37")]
    assert "by its form; --dates overrules" in remarks[0]


def test_a_cell_that_shows_the_order_counts_more_than_the_form(read):
    times, _ = read(
        HEADER
        + "1,A,SRV,Annually,7/11/2016 1:37:00 PM,1,1\n2,B,SRV,Daily,25/12/2016 1:00:00 PM,1,1\n"
    )

    assert times[0] == wall("2016-11-07T13:37")


@pytest.mark.parametrize(
    ("before", "value", "expected"),
    [
        ("SET DATEFORMAT dmy\n", "'07/11/2016 13:37'", "2016-11-07T13:37"),
        ("SET DATEFORMAT mdy;\nGO\n", "'07/11/2016 13:37'", "2016-07-11T13:37"),
        ("SET DATEFORMAT dmy\n", "CAST('07/11/2016' AS DateTime)", "2016-11-07"),
        ("SET DATEFORMAT dmy\n", "CAST(N'07/11/2016' AS date)", "2016-11-07"),
        ("SET DATEFORMAT dmy\n", "CONVERT(datetime, '07/11/2016', 101)", "2016-07-11"),
        ("SET LANGUAGE British\n", "'07/11/2016 13:37'", "2016-11-07T13:37"),
        ("SET LANGUAGE N'Deutsch';\n", "'07/11/2016 13:37'", "2016-11-07T13:37"),
        ("SET LANGUAGE us_english\n", "'07/11/2016 13:37'", "2016-07-11T13:37"),
        ("SET LANGUAGE [Japanese]\n", "'16/11/07'", "2016-11-07"),
        ("DECLARE @f varchar(3) = 'dmy'\nSET DATEFORMAT @f\n", "'07/11/2016'", "2016-11-07"),
        ("SET DATEFORMAT dmy SET LANGUAGE us_english\n", "'07/11/2016'", "2016-07-11"),
        # datetime also reads a dashed date by the session's order; date and datetime2 do not
        ("SET DATEFORMAT dmy\n", "'2016-11-07 13:37'", "2016-07-11T13:37"),
        ("SET DATEFORMAT dmy\n", "CAST('2016-11-07' AS datetime2)", "2016-11-07"),
        ("SET DATEFORMAT dmy\n", "CAST(N'2016-11-07T13:37:00.000' AS DateTime)", "2016-11-07T13:37"),
        ("SET DATEFORMAT dmy\n", "'20161107'", "2016-11-07"),
        ("", "CONVERT(datetime, '07/11/2016', 103)", "2016-11-07"),
        ("", "{ts '2016-11-07 13:37:00'}", "2016-11-07T13:37"),
    ],
)  # fmt: skip
def test_a_script_says_how_its_session_reads_dates(read, before, value, expected):
    times, _ = read(before + SCRIPT.format(value), "c_Job.sql")

    assert times == [wall(expected)]


@pytest.mark.parametrize("value", ["'07/11/2016'", "CAST('07/11/2016' AS DateTime)", "CONVERT(datetime, '07/11/2016')"])  # fmt: skip
@pytest.mark.parametrize("before", ["", "SET LANGUAGE Klingon\n", "SET DATEFORMAT @nobody\n"])
def test_a_script_that_says_nothing_leaves_the_date_in_doubt(read, before, value):
    assert read(before + SCRIPT.format(value), "c_Job.sql")[0] == ["ambiguous"]


def test_a_set_holds_for_the_rows_behind_it_alone(read):
    row = "INSERT c_Job (ID, lkpJob, WhenToRun) VALUES ({}, 'A', '07/11/2016')\nGO\n"
    script = "SET DATEFORMAT dmy\n" + row.format(1) + "SET DATEFORMAT mdy\n" + row.format(2)

    assert read(script, "c_Job.sql")[0] == [wall("2016-11-07"), wall("2016-07-11")]


def test_rows_that_ssms_writes_alike_follow_the_session_too(read):
    row = "INSERT [dbo].[c_Job] ([ID], [lkpJob], [WhenToRun]) VALUES ({}, N'A', CAST(N'07/11/2016' AS DateTime))\nGO\n"
    script = "SET DATEFORMAT dmy\n" + "".join(map(row.format, range(5)))

    assert read(script, "c_Job.sql")[0] == [wall("2016-11-07")] * 5


@pytest.mark.parametrize(
    ("read_", "value", "expected"),
    [
        (reader_rows.integer, None, None),
        (reader_rows.integer, " ", None),
        (reader_rows.integer, "7.0", 7),
        (reader_rows.integer, b"\x00\x05", 5),
        (reader_rows.integer, "2,5", "no whole number"),
        (reader_rows.integer, 2.5, "no whole number"),
        (reader_rows.integer, "1e999", "no whole number"),
        (reader_rows.flag, None, None),
        (reader_rows.flag, "True", True),
        (reader_rows.flag, b"\x00", False),
        (reader_rows.flag, "WAHR", "neither 0 nor 1"),
        (reader_rows.flag, "2", "neither 0 nor 1"),
        (reader_rows.moment, None, None),
        (reader_rows.moment, "", None),
        (reader_rows.moment, "31.12.", "no date"),
        (reader_rows.moment, 1478523420000, "no date"),
    ],
)
def test_null_is_null_and_what_cannot_be_read_is_not(read_, value, expected):
    row = Row("c_job", {"x": value}, "c_Job.csv", 2)
    if isinstance(expected, str):
        with pytest.raises(reader_rows.UnreadableCellError, match=f"^x is .*{expected}"):
            read_(row, "x")
    else:
        assert read_(row, "x") == expected
