"""Rules of the readers by tables: readings of unquoted rows, sizes of sheets, places, two-digit years, kinds of files."""

# ruff: noqa: DTZ001 - wall times
import io
import json
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from xml.parsers import expat
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from targcc_gen.errors import ExportError, NoTableError
from targcc_gen.readers import csv as csv_reader
from targcc_gen.readers import excel, exports
from targcc_gen.readers import text as text_reader
from targcc_gen.readers.csv import MAX_PIECES, RowRepair, read_csv
from targcc_gen.readers.database import (
    Contents,
    Place,
    Session,
    Wanted,
    _isolation,
    _line,
    _Reader,
    parse_address,
)
from targcc_gen.readers.database import _value as database_value
from targcc_gen.readers.dates import AmbiguousDateError, orders_of, read_date, usual_order
from targcc_gen.readers.exports import Survey, read_exports, surveyed
from targcc_gen.readers.json import read_json
from targcc_gen.readers.rows import (
    ColumnKind,
    KnownTables,
    Remark,
    RemarkKind,
    Row,
    UnreadableCellError,
    cell,
    duration,
    flag,
    key,
    text,
)
from targcc_gen.readers.text import TextFile, Truncated, open_text
from targcc_gen.readers.xml import read_xml

INTEGER, BIT, DATE, CRON = ColumnKind.INTEGER, ColumnKind.BIT, ColumnKind.DATE, ColumnKind.CRON
TABLES = KnownTables(
    names={"c_job": "c_Job", "c_log": "c_Log"},
    main="c_job",
    signs={"c_job": frozenset({"name", "cron"}), "c_log": frozenset({"message"})},
    shapes={"c_job": [["id", "name", "cron", "active"]], "c_log": [["id", "at", "message"]]},
    columns=frozenset({"id", "name", "cron", "active", "at", "message"}),
    kinds={"id": INTEGER, "active": BIT, "at": DATE, "cron": CRON},
    dates=frozenset({"at"}),
    nested="c_log",
    link="job",
    strangers=frozenset({"stranger"}),
)


def rows_of(items):
    return [(item.line, dict(item.values)) for item in items if isinstance(item, Row)]


def remarks_of(items):
    return [(item.kind, item.line, item.text) for item in items if isinstance(item, Remark)]


# Unquoted rows.


@pytest.mark.parametrize(
    ("line", "readings"),
    [
        ("1,a,2", [["1", "a", "2"]]),
        ("x,a,2", []),
        ("1,a,x", []),
        ("1,a", []),
        ("1,a,b,2", [["1", "a,b", "2"]]),
        ("1,a,b,c,2", [["1", "a,b,c", "2"]]),
        ("1,a,b,x", []),
        (",a,2", [["", "a", "2"]]),
        ("NULL,a,b,NULL", [["NULL", "a,b", "NULL"]]),
    ],
)
def test_typed_columns_show_where_a_text_ends(line, readings):
    repair = RowRepair(["id", "name", "count"], ",", {"id": INTEGER, "count": INTEGER})
    assert repair.readings(line) == readings


def test_two_columns_of_text_can_be_read_in_two_ways():
    repair = RowRepair(["id", "first", "second"], ",", {"id": INTEGER})
    assert sorted(repair.readings("1,a,b,c")) == [["1", "a", "b,c"], ["1", "a,b", "c"]]
    assert len(repair.readings("1,a,b,c,d,e")) == 2


@pytest.mark.parametrize(
    ("cron", "readings"),
    [
        ("0 5 * * *", 1),
        ("0,30 5 * * *", 1),
        ("0,15,30,45 5 * * 1,3", 1),
        ("0,15 5 * *", 0),
        ("0,15 5 * * * * * *", 0),
        ("0,15 5 * * !", 0),
        (",".join(map(str, range(60))) + " 5 * * *", 1),
    ],
)
def test_a_cron_text_keeps_its_commas(cron, readings):
    repair = RowRepair(["id", "cron", "active"], ",", {"id": INTEGER, "cron": CRON, "active": BIT})
    expected = [["7", cron, "1"]] if readings else []
    assert repair.readings(f"7,{cron},1") == expected


def test_a_cron_text_of_one_word_is_found_behind_a_name_with_commas():
    columns = ["id", "name", "cron", "active"]
    repair = RowRepair(columns, ",", {"id": INTEGER, "cron": CRON, "active": BIT})
    assert repair.readings("1,a!,b!,@daily,1") == [["1", "a!,b!", "@daily", "1"]]


@pytest.mark.parametrize(
    ("line", "readings"),
    [
        ("a!,b! 5 * * *,7", []),
        ("a!,b!,5 5 * * *,7", [["a!,b!", "5 5 * * *", "7"]]),
        (
            "a!,0,30 5 * * *,7",
            [["a!", "0,30 5 * * *", "7"], ["a!,0", "30 5 * * *", "7"]],
        ),
    ],
)
def test_a_cron_text_is_told_from_the_name_before(line, readings):
    repair = RowRepair(["name", "cron", "id"], ",", {"id": INTEGER, "cron": CRON})
    assert sorted(repair.readings(line)) == readings


@pytest.mark.parametrize(("pieces", "readings"), [(MAX_PIECES, 1), (MAX_PIECES + 1, 0)])
def test_a_row_of_more_than_a_thousand_pieces_is_not_searched(pieces, readings):
    repair = RowRepair(["id", "name"], ",", {"id": INTEGER})
    assert len(repair.readings("1" + ",a" * (pieces - 1))) == readings


@pytest.mark.parametrize(
    ("line", "starts"),
    [("1,a", True), ("a,1", False), ("1", False), (",a", False), ("NULL,a", False)],
)
def test_a_row_starts_with_a_value_of_the_first_column(line, starts):
    assert RowRepair(["id", "name"], ",", {"id": INTEGER}).starts_row(line) is starts


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        (INTEGER, " -12 ", True),
        (INTEGER, "1.5", False),
        (INTEGER, "NULL", True),
        (BIT, "TRUE", True),
        (BIT, "2", False),
        (DATE, "2024-01-31 02:00:00.000", True),
        (DATE, "31/01/24", True),
        (DATE, "20240131", True),
        (DATE, "Jan 31 2024  2:00AM", True),
        (DATE, "soon", False),
        (ColumnKind.LINE, "a b", True),
        (ColumnKind.LINE, "a\nb", False),
        (CRON, "@daily", True),
        (CRON, "0 5 * * * * *", True),
        (CRON, "0 5 * *", False),
    ],
)
def test_a_value_fits_the_kind_of_its_column(kind, value, fits):
    repair = RowRepair(["it"], ",", {"it": kind})
    assert repair.readings(value) == ([[value]] if fits else [])


def test_a_row_over_several_lines_has_the_line_where_it_begins():
    text = "id,name,active\n1,a\nb,1\n2,c,0\n"
    known = KnownTables(
        names={"c_job": "c_Job"},
        main="c_job",
        signs={"c_job": frozenset({"name"})},
        columns=frozenset({"id", "name", "active"}),
        kinds={"id": INTEGER, "active": BIT},
    )
    assert rows_of(read_csv(iter([text]), "x.csv", known)) == [
        (2, {"id": "1", "name": "a\nb", "active": "1"}),
        (4, {"id": "2", "name": "c", "active": "0"}),
    ]


def test_a_row_that_does_not_fit_says_how_many_values_it_has():
    items = [*read_csv(iter(["id,name,cron,active\n1,a,0 5 * * *,1\n2,b\n"]), "x.csv", TABLES)]
    assert rows_of(items) == [(2, {"id": "1", "name": "a", "cron": "0 5 * * *", "active": "1"})]
    ((kind, line, reason),) = remarks_of(items)
    assert (kind, line) == (RemarkKind.UNREADABLE, 3)
    assert reason == "2 values for 4 columns, and no way to fit them"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("id,name", (["id", "name"], ",")),
        ("ID;[Name]", (["id", "name"], ";")),
        ("id\tname\tother", (["id", "name", "other"], "\t")),
        ("id,what", None),
        ("id|name|x,y", None),
        ("1,2", None),
        ("id,name,what's up", None),
        ("id,name,", (["id", "name", ""], ",")),
    ],
)
def test_two_known_names_make_a_header(header, expected):
    assert csv_reader._header([header], TABLES) == expected


def test_an_empty_file_has_no_header():
    assert csv_reader._header([], TABLES) is None


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        (['1,"a, b",0 5 * * *,1\n', "2,c,0 5 * * *,0\n"], ["a, b", "c"]),
        (["1,a,0 5 * * *,1\n", "2,c,0 5 * * *,0\n"], ["a", "c"]),
        (["1,a,0 5 * * *,1\n", '2,"c",0 5 * * *,0\n'], ["a", "c"]),
        (['1,a 5" b,0 5 * * *,1\n'], ['a 5" b']),
    ],
)
def test_a_grid_without_a_header_may_be_quoted(lines, values):
    items = read_csv(iter(lines), "x.csv", TABLES)
    assert [row["name"] for _, row in rows_of(items)] == values


def test_a_table_in_the_files_name_limits_the_choice():
    line = "1,2024-01-31,done\n"
    assert [row.table for row in read_csv(iter([line]), "grid.csv", TABLES)] == ["c_log"]
    assert [row.table for row in read_csv(iter([line]), "c_Log.csv", TABLES)] == ["c_log"]
    with pytest.raises(NoTableError):
        read_csv(iter(["1,a,0 5 * * *,1\n"]), "c_log.csv", TABLES)


@pytest.mark.parametrize("second", ["--,----,----,------\n", ""])
def test_a_line_of_dashes_below_the_header_is_no_row(second):
    text = f"id,name,cron,active\n{second} 1 ,a   ,0 5 * * *, 1\n"
    ((line, values),) = rows_of(read_csv(iter([text]), "x.csv", TABLES))
    assert line == (3 if second else 2)
    assert values["name"] == ("a" if second else "a   ")


def test_a_header_alone_has_no_rows():
    assert [*read_csv(iter(["id,name,cron,active"]), "x.csv", TABLES)] == []


def test_quotes_that_do_not_end_name_the_line():
    text = 'id,name,cron,active\n1,"a",0 5 * * *,1\n2,"b'
    with pytest.raises(Truncated, match=r"x\.csv:3: .*a quoted value"):
        list(read_csv(iter([text]), "x.csv", TABLES))


def test_a_footer_is_no_row():
    text = "id,name,cron,active\n1,a,0 5 * * *,1\n\n(1 rows affected)\n"
    assert len([*read_csv(iter([text]), "x.csv", TABLES)]) == 1
    quoted = 'id,name,cron,active\n1,"a",0 5 * * *,1\n\n(1 rows affected)\n'
    assert len([*read_csv(iter([quoted]), "x.csv", TABLES)]) == 1


# Dates.


@pytest.mark.parametrize(
    ("text", "order", "year"),
    [
        ("1/2/49", "dmy", 2049),
        ("1/2/50", "dmy", 1950),
        ("1/2/99", "mdy", 1999),
        ("0/2/1", "ymd", 0),
    ],
)
def test_a_year_of_two_digits_follows_the_cutoff_of_sql_server(text, order, year):
    if year:
        assert read_date(text, [order]).year == year
    else:
        with pytest.raises(ValueError, match="no date"):
            read_date(text, [order])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024/01/31", datetime(2024, 1, 31)),
        ("2024/1/31 2:05", datetime(2024, 1, 31, 2, 5)),
        ("2024.01.31 02:05:06.1234567", datetime(2024, 1, 31, 2, 5, 6, 123456)),
        ("20240131 2:05 pm", datetime(2024, 1, 31, 14, 5)),
        ("20240131 2:05PM", datetime(2024, 1, 31, 14, 5)),
        ("20240131 12:05 am", datetime(2024, 1, 31, 0, 5)),
        ("20240131 12:05 PM", datetime(2024, 1, 31, 12, 5)),
        ("jan 31, 2024 1:02:03:004", datetime(2024, 1, 31, 1, 2, 3, 4000)),
        ("December 5, 2024", datetime(2024, 12, 5)),
        ("5 Dec 2024 23:59", datetime(2024, 12, 5, 23, 59)),
        ("31-JAN-2024", datetime(2024, 1, 31)),
        ("2024-01-31T02:00:00+02:00", datetime(2024, 1, 31, 2)),
    ],
)
def test_a_date_that_shows_its_order_is_read(text, expected):
    assert read_date(text) == expected


def test_an_ambiguous_date_shows_each_reading():
    with pytest.raises(AmbiguousDateError) as error:
        read_date(" 07/11/2016 ")
    assert error.value.dates == {"dmy": datetime(2016, 11, 7), "mdy": datetime(2016, 7, 11)}
    assert str(error.value) == (
        '"07/11/2016" can be read in several ways: dmy 2016-11-07 or mdy 2016-07-11'
    )


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("07/11/2016", {"dmy", "mdy"}),
        ("07/11/16", {"dmy", "mdy", "ymd"}),
        ("31/11/16", {"ymd"}),
        ("31/12/2016", {"dmy"}),
        ("40/40/40", None),
    ],
)
def test_the_orders_of_a_text(text, orders):
    assert orders_of(text) == orders


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("1.2.2024", "dmy"),
        ("1.2.24", None),
        ("1/2/2024", None),
        ("1/2/2024 1:00 AM", "mdy"),
        ("1.2.2024 1:00 AM", "dmy"),
        ("2024-01-01", None),
    ],
)
def test_the_form_of_a_date_suggests_its_order(text, order):
    assert usual_order(text) == order


# Surveys of dates.


def dated(*texts):
    return [Row("c_log", {"at": text}, "x.csv", line) for line, text in enumerate(texts, 2)]


@pytest.mark.parametrize(
    ("texts", "orders", "remark"),
    [
        (["1/2/2024"], {"dmy", "mdy"}, None),
        (["1/2/2024", "31/2/2024", "31/1/2024"], {"dmy"}, "day, month, year"),
        (["1/2/2024", "1/31/2024"], {"mdy"}, "month, day, year"),
        (
            ["31/1/2024", "1/31/2024"],
            {"dmy", "mdy", "ymd"},
            'several orders: "31/1/2024" in line 2 and "1/31/2024" in line 3',
        ),
        (["1.2.2024"], {"dmy", "mdy"}, '"1.2.2024" in line 2 is read as day, month, year, by'),
        (
            ["1/2/2024", "1/2/2024 1:00 PM"],
            {"dmy", "mdy"},
            'PM" in line 3 is read as month, day, year',
        ),
        (["2024-01-31"], {"dmy", "mdy", "ymd"}, None),
    ],
)
def test_the_dates_of_a_file_decide_its_order(texts, orders, remark):
    survey = Survey(dated(*texts), TABLES)
    assert survey.orders == orders
    remarks = [item.text for item in survey.remarks]
    assert len(remarks) == (remark is not None)
    assert {item.line for item in survey.remarks} <= {0}  # of the whole file
    assert remark is None or remark in remarks[0]


def test_a_sparse_row_gets_the_columns_of_the_others():
    items = [Row("c_job", {"id": 1}, "x", 1), Row("c_job", {"name": "a"}, "x", 2)]

    def rows(*, sparse):
        read = surveyed(lambda: items, lambda: items, TABLES, sparse=sparse, orders=None)
        return [(dict(row.values), row.is_sparse) for row in read]

    assert rows(sparse=True) == [
        ({"id": 1, "name": None}, True),
        ({"name": "a", "id": None}, True),
    ]
    assert rows(sparse=False) == [({"id": 1}, False), ({"name": "a"}, False)]


# Exports.


@pytest.mark.parametrize(
    ("head", "suffix", "kind"),
    [
        ("{}", ".txt", "JSON"),
        ('"JSON_F52E2B61-', ".rpt", "JSON"),
        ("x", ".jsonl", "JSON"),
        ("[{}]", ".txt", "JSON"),
        ("[id],[name]", ".sql", "SQL script"),
        ("<row/>", ".txt", "XML"),
        ("x", ".xml", "XML"),
        ("INSERT [dbo].[c_Job]", ".sql", "SSMS script"),
        ("/* Script Date: 1 */ SELECT 1", ".sql", "SSMS script"),
        ("USE x\nINSERT INTO c_Job VALUES (1)", ".txt", "SQL script"),
        ("1,INSERT INTO c_Job", ".txt", "CSV"),
        ("id,name", ".csv", "CSV"),
    ],
)
def test_the_kind_of_a_file(head, suffix, kind):
    assert exports._kind(head, suffix) == kind


def test_rows_of_wanted_tables_are_taken_and_the_others_counted(tmp_path):
    path = tmp_path / "x.json"
    jobs = [{"id": 1, "name": "a", "cron": "x"}, {"id": 2, "name": "b"}]
    path.write_text(json.dumps({"c_Job": jobs, "c_Log": [{"message": "m"}]}), encoding="utf-8")
    taken = []
    (file,) = read_exports([path], TABLES, taken.append)
    assert [(row.table, row.values.get("id")) for row in taken] == [
        ("c_job", 1),
        ("c_job", 2),
        ("c_log", None),
    ]
    assert file.counts == {"c_job": 2, "c_log": 1}
    assert taken[1].values == {"id": 2, "name": "b", "cron": None}
    assert (file.kind, file.others) == ("JSON", Counter())


def test_csv_rows_are_not_sparse(tmp_path):
    path = tmp_path / "c_job.csv"
    path.write_text("id,name,cron,active\n1,a,0 5 * * *,1\n", encoding="utf-8")
    taken = []
    read_exports([path], TABLES, taken.append)
    assert [row.is_sparse for row in taken] == [False]


def test_a_script_is_read_by_its_own_reader(tmp_path):
    path = tmp_path / "x.sql"
    path.write_text("INSERT INTO c_Job (id, name) VALUES (1, 'a')\n", encoding="utf-8")
    taken = []
    read_exports([path], TABLES, taken.append)
    assert [dict(row.values) for row in taken] == [{"id": 1, "name": "a"}]


def test_a_guessed_code_page_is_a_remark_about_the_whole_file(tmp_path):
    path = tmp_path / "c_job.csv"
    path.write_bytes("id,name,cron,active\n1,éàü,0 5 * * *,1\n".encode("cp1252"))
    taken = []
    read_exports([path], TABLES, taken.append)
    remark = taken[0]
    assert (remark.kind, remark.file, remark.line) == (RemarkKind.WARNING, str(path), 0)
    assert remark.place == str(path)
    assert taken[1].values["name"] == "éàü"
    assert taken[1].place == f"{path}:2"


# Cells.


def row(value):
    return Row("c_job", {"value": value, "empty": None, "zero": 0}, "jobs.csv", 2)


def test_the_first_filled_column_counts():
    assert cell(row("a"), "empty", "value") == "a"
    assert cell(row("a"), "zero", "value") == 0
    assert cell(row("a"), "empty", "missing") is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(7, "7"), (7.0, "7"), (7.5, "7.5"), (" 7.0 ", "7"), (b"ab", "ab"), (" ", None), (None, None)],
)
def test_an_id_as_text(value, shown):
    assert key(row(value), "value") == shown


def test_a_text_keeps_its_point():
    assert text(row("7.0"), "value") == "7.0"


@pytest.mark.parametrize(("value", "truth"), [(b"\x00\x01", True), (b"\x00\x00", False)])
def test_any_bit_of_bytes_is_true(value, truth):
    assert flag(row(value), "value") is truth


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3 * MINUTE),
        ("1.5", timedelta(seconds=90)),
        (b"\x00\x02", 2 * MINUTE),
        (0, timedelta()),
        ("0:01:23.5", timedelta(minutes=1, seconds=23.5)),
        ("2:03", timedelta(hours=2, minutes=3)),
        ("1.02:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("2 days, 1:00:00", timedelta(days=2, hours=1)),
        (" ", None),
        (None, None),
    ],
)
def test_a_cell_is_a_duration(value, expected):
    assert duration(row(value), MINUTE, "value") == expected


@pytest.mark.parametrize("value", ["soon", "inf", "1e300"])
def test_a_cell_that_is_no_duration_is_named(value):
    with pytest.raises(UnreadableCellError, match="no length of time"):
        duration(row(value), MINUTE, "value")


@pytest.mark.parametrize(
    ("count", "columns"),
    [(4, ["id", "name", "cron", "active"]), (3, ["name", "cron", "active"]), (2, None), (5, None)],
)
def test_values_without_names_get_the_columns_of_a_shape(count, columns):
    assert TABLES.columns_of("c_job", count) == columns


@pytest.mark.parametrize(
    ("name", "table"),
    [("dbo.C-JOB.csv", "c_job"), ("cjob_2024", "c_job"), ("jobs.csv", None), ("cLog", "c_log")],
)
def test_a_files_name_tells_its_table(name, table):
    assert TABLES.named_in(name) == table


@pytest.mark.parametrize(
    ("columns", "table"), [(["name", "x"], "c_job"), (["message"], "c_log"), (["x"], None)]
)
def test_columns_tell_their_table(columns, table):
    assert TABLES.table_of(columns) == table


# JSON and XML.


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[{"name": "a"},\n {"name": b}  ]   ', "x.json:2:11: not JSON"),
        ('[{"name" "a"}, {"name": "b"}]', "x.json:1:10: not JSON"),
        ("7 is no row", "x.json:1:1: not JSON"),
    ],
)
def test_broken_json_names_line_and_column(text, place):
    with pytest.raises(ExportError) as error:
        list(read_json(text, "x.json", TABLES))
    assert error.value.message.startswith(place)


def test_json_that_is_no_object_is_a_remark_with_its_line():
    items = [*read_json('[{"name": "a"},\n7,\n{"x": 1}]', "x.json", TABLES)]
    assert rows_of(items) == [(1, {"name": "a"})]
    assert remarks_of(items) == [
        (RemarkKind.UNREADABLE, 2, "not an object"),
        (RemarkKind.UNREADABLE, 3, "its columns (x) are of no table this import knows"),
    ]
    assert {item.file for item in items} == {"x.json"}


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ('{"c_Job": [{"id": 1}], "c_Log": [{"id": 2}]}', ["c_job", "c_log"]),
        ('{"rows": [{"name": 1}]}', ["c_job"]),
        ('{"name": "a", "logs": [{"message": "m"}]}', ["c_job", "c_log"]),
        ('{"name": "a"}\n{"message": "b"}', ["c_job", "c_log"]),
        ('{"name": "a"}', ["c_job"]),
        ('{"dbo.[c_Log]": [{"x": 1}], "version": 3}', ["c_log"]),
    ],
)
def test_the_forms_of_json(text, tables):
    assert [row.table for row in read_json(text, "x.json", TABLES)] == tables


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('<dbo.c_Job id="1"/>', [("c_job", {"id": "1"})]),
        ("<c_Job><id>1</id><name/></c_Job>", [("c_job", {"id": "1", "name": ""})]),
        (
            '<c_Job><id>1</id><name xsi:nil="true"/></c_Job>',
            [("c_job", {"id": "1", "name": None})],
        ),
        ('<c_Job><name xsi:nil="0"/></c_Job>', [("c_job", {"name": ""})]),
        ('<row first_x0020_name="x" message="m"/>', [("c_log", {"first name": "x", "message": "m"})]),
        ('<other x="1"/>', []),
        ('<root><c_Job id="1"/>\n<c_Job id="2"/></root>', [("c_job", {"id": "1"}), ("c_job", {"id": "2"})]),
        (
            'XML_F52E2B61-18A1-11d1-B105-00805F49916B\n-----\n<c_Job id="1"/>\n\n(1 rows affected)\n',
            [("c_job", {"id": "1"})],
        ),
    ],
)  # fmt: skip
def test_the_forms_of_xml(text, rows):
    items = read_xml(text, "x.xml", TABLES)
    assert [(item.table, dict(item.values)) for item in items] == rows


# Excel.


@pytest.mark.parametrize(
    ("letters", "number"), [("A", 1), ("z", 26), ("AA", 27), ("AZ", 52), ("BA", 53), ("XFD", 16384)]
)
def test_letters_of_a_column_are_its_number(letters, number):
    assert excel._column_number(letters) == number


def sheet_of(xml):
    archive = io.BytesIO()
    with ZipFile(archive, "w", ZIP_DEFLATED) as file:
        file.writestr("xl/worksheets/sheet1.xml", xml)
    return archive.getvalue()


def cells(*references):
    inside = "".join(f'<row><c r="{name}"><v>1</v></c></row>' for name in references)
    return f"<worksheet><sheetData>{inside}</sheetData></worksheet>"


@pytest.mark.parametrize(
    ("references", "refused"),
    [
        (["A1", "A1000040"], False),
        (["A1", "A1000041"], True),
        (["A1", "B500020"], False),
        (["A1", "B500021"], True),
        (["C1000000", "C1999999"], False),
        (["A1"], False),
    ],
)
def test_a_sheet_of_a_million_empty_cells_is_the_most(tmp_path, references, refused):
    path = tmp_path / "x.xlsx"
    path.write_bytes(sheet_of(cells(*references)))
    if refused:
        with pytest.raises(ExportError, match="a cell far from the others"):
            excel.refuse_bombs(path)
    else:
        excel.refuse_bombs(path)


@pytest.mark.parametrize("packed", [ZIP_STORED, ZIP_DEFLATED])
def test_each_part_of_a_workbook_is_measured(tmp_path, packed):
    path = tmp_path / "x.xlsx"
    with ZipFile(path, "w", packed) as file:
        file.writestr("a.xml", cells("A1"))
        file.writestr("b.xml", cells("A1", "A2000000"))
    with pytest.raises(ExportError, match=r"x\.xlsx: a cell far .* of 2,000,000 cells"):
        excel.refuse_bombs(path)


def test_a_part_is_measured_wherever_it_stands_in_the_file(tmp_path):
    class Unseekable(io.BytesIO):
        """As of a program that writes into a pipe: lengths follow each part."""

        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

    stream = Unseekable()
    with ZipFile(stream, "w", ZIP_DEFLATED) as file:
        file.writestr("a.xml", cells("A1"))
        file.writestr("b.xml", cells("A1", "A2000000"))
    path = tmp_path / "x.xlsx"
    path.write_bytes(stream.getvalue())
    with pytest.raises(ExportError, match="of 2,000,000 cells"):
        excel.refuse_bombs(path)


def _sheet(xml):
    texts, meant = [], Counter()
    sheet = excel._Sheet(texts, meant)
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = sheet.start, sheet.end
    parser.CharacterDataHandler = sheet.data
    parser.Parse(f"<x>{xml}</x>", True)  # noqa: FBT003 - expat's own
    return sheet, texts, meant


@pytest.mark.parametrize(
    ("xml", "area"),
    [
        ("", 0),
        ("<row><c/><c/></row>", 2),
        ("<row><c/></row><row><c/><c/></row>", 4),
        ('<row r="3"><c/></row><row r="5"><c/></row>', 3),
        ('<row r="3"><c/></row><row><c/></row>', 2),
        ('<row r="x"><c/></row><row><c/></row>', 2),
        ('<row><c r="B2"/><c/></row><row><c r="D9"/></row>', 24),
        ('<n:row r="3"><n:c r="A3"/></n:row><n:row r="4"><n:c/></n:row>', 2),
    ],
)
def test_the_area_of_a_sheet_is_the_smallest_rectangle(xml, area):
    assert _sheet(xml.replace("<x>", "<x xmlns:n='n'>"))[0].area == area


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        ('<c t="s"><v>7</v></c>', {7: 1}),
        ('<c t="s"><v> 7 </v></c><c t="s"><v>7</v></c>', {7: 2}),
        ('<c t="n"><v>7</v></c>', {}),
        ("<c><v>7</v></c>", {}),
        ('<c t="s"><v>7</v></c><c><v>8</v></c>', {7: 1}),
        ('<c t="s"><f>3</f><v>7</v></c>', {7: 1}),
        ('<c t="s"><v>x</v></c>', {}),
        ('<c t="s"><v>1234567890123</v></c>', {}),
    ],
)
def test_a_cell_may_mean_a_shared_text(cell, meant):
    assert _sheet(f"<row>{cell}</row>")[2] == meant


def test_the_length_of_each_shared_text_counts_all_its_pieces():
    assert _sheet("<si><t>abc</t></si><si><r><t>de</t></r><r><t>f</t></r></si><si/>")[1] == [
        3,
        3,
        0,
    ]


def test_a_workbook_may_begin_behind_other_bytes(tmp_path):
    path = tmp_path / "x.xlsx"
    path.write_bytes(b"#" * 100)
    with ZipFile(path, "a", ZIP_DEFLATED) as file:
        file.writestr("a.xml", cells("A1"))
        file.writestr("b.xml", cells("A1", "A3"))
    excel.refuse_bombs(path)


def test_a_missing_workbook_of_an_older_format_is_named(tmp_path):
    with pytest.raises(ExportError, match=r"x\.xls: there is no such file"):
        excel.read_excel(tmp_path / "x.xls", TABLES)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, 1),
        (date(2024, 1, 31), datetime(2024, 1, 31)),
        (datetime(2024, 1, 31, 2), datetime(2024, 1, 31, 2)),
        (2.5, 2.5),
        ("", None),
        ("NULL", None),
        ("a", "a"),
    ],
)
def test_a_cell_of_a_sheet(value, expected):
    assert excel._value(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(45322.5, datetime(2024, 1, 31, 12)), (1, datetime(1899, 12, 31)), (1e300, 1e300), ("x", "x")],
)
def test_a_number_in_a_column_of_dates_counts_days(value, expected):
    assert excel._date(value) == expected


# Text.


def test_text_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(text_reader, "_CHUNK", 3)
    path = tmp_path / "x.txt"
    path.write_bytes("\ufeffabcdé".encode())
    file = open_text(path)
    steps = []
    assert "".join(file.chunks(steps.append)) == "abcdé"
    assert steps == [3, 3]


def test_bytes_outside_of_the_encoding_name_the_place(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"abc\xffd")
    with pytest.raises(ExportError, match="not UTF-8 near byte 3"):
        list(TextFile(path, "x.txt", "utf-8", "UTF-8", 5).chunks())
    path.write_bytes("abcé".encode()[:-1])
    with pytest.raises(ExportError, match="in the middle of a character"):
        list(TextFile(path, "x.txt", "utf-8", "UTF-8", 4).chunks())


# Databases.


class Answers:
    """Stand for a connection that answers each statement with the same rows."""

    def __init__(self, rows):
        self.rows = rows

    def exec_driver_sql(self, _):
        return self

    def first(self):
        return self.rows[0] if self.rows else None

    def all(self):
        return self.rows


@pytest.mark.parametrize(
    ("rows", "level"),
    [
        ([(1, 0)], "SNAPSHOT"),
        ([(0, 1)], "READ COMMITTED"),
        ([(3, 1)], "READ COMMITTED"),
        ([(0, 0)], "READ UNCOMMITTED"),
        ([], "READ UNCOMMITTED"),
    ],
)
def test_the_isolation_level_follows_what_the_server_allows(rows, level):
    assert _isolation(Answers(rows)) == level


ADDRESS = "postgresql://user:x@server/work"


def contents(rows, **wanted):
    options = Wanted(TABLES, ZoneInfo("UTC"), **wanted)
    return Contents(Session(Answers(rows)), parse_address(ADDRESS), options)


def test_the_schema_of_the_log_in_is_chosen_among_several():
    both = contents([("b",)])
    assert both._chosen(["a", "b"]) == "b"
    ((kind, line, said),) = remarks_of(both.remarks)
    assert (kind, line) == (RemarkKind.WARNING, 0)
    assert said == "c_Job is in b, which was read, and in a: --schema chooses"


@pytest.mark.parametrize(
    ("own", "schema", "schemas", "words"),
    [
        ("c", None, ["a", "b"], "has c_Job in a and b"),
        ("a", "x", ["a", "b"], "has no table c_Job in the schema x"),
        ("a", None, [], "has no table c_Job$"),
    ],
)
def test_a_table_that_cannot_be_chosen_is_named(own, schema, schemas, words):
    with pytest.raises(NoTableError, match=words):
        contents([(own,)], schema=schema)._chosen(schemas)


def test_a_schema_that_a_person_chose_ignores_case():
    assert contents([], schema="DBO")._chosen(["a", "dbo"]) == "dbo"
    assert contents([])._chosen(["only"]) == "only"


@pytest.mark.parametrize(
    ("column", "cells", "lines"), [("name", ("a", "b"), [1, 2]), ("id", (7, 5), [7, 5]), ("id", (None, 0), [1, 2])]
)  # fmt: skip
def test_a_row_s_line_is_its_id_or_its_number_from_one(column, cells, lines):
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        values = " UNION ALL ".join(f"SELECT {'NULL' if cell is None else repr(cell)} AS {column}" for cell in cells)  # fmt: skip
        connection.exec_driver_sql(f"CREATE TABLE c_Log AS {values}")
        options = Wanted(TABLES, ZoneInfo("UTC"))
        read = Contents(Session(connection), parse_address(ADDRESS), options)
        place = Place("c_log", "c_Log", '"c_Log"')
        parts = list(read.rows(place, [column]))
    engine.dispose()
    assert sorted(row.line for part in parts for row in part) == sorted(lines)


def test_procedures_are_numbered_from_one():
    name, rows = contents([("s", "p", "x"), ("s", "q", "y")]).procedures("c_log")
    assert name == "postgresql://server/work/c_Log"
    assert [(item.line, item.values["name"]) for item in rows] == [(1, "p"), (2, "q")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, 1),
        (datetime(2024, 1, 31, 2, tzinfo=UTC), datetime(2024, 1, 31, 4)),
        (datetime(2024, 1, 31, 2), datetime(2024, 1, 31, 2)),
        (date(2024, 1, 31), datetime(2024, 1, 31)),
        (Decimal("7.0"), 7),
        (Decimal("7.5"), "7.5"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"a"), b"a"),
        (None, None),
        (time(2, 3), "02:03:00"),
    ],
)
def test_a_cell_of_a_database(value, expected):
    result = database_value(value, ZoneInfo("Asia/Jerusalem"))
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(("identity", "line"), [(5, 5), (0, 3), (-1, 3), ("5", 3), (1, 1)])
def test_the_line_of_a_row_is_its_id(identity, line):
    assert _line({"id": identity}, 3) == line


@pytest.mark.parametrize(("names", "shown"), [("a", "a"), ("ab", "a or b"), ("abc", "a, b or c")])
def test_the_names_of_tables_are_listed(names, shown):
    tables = KnownTables(names=dict(zip(names, names, strict=True)), main="a", signs={})
    assert tables.shown == shown


def _zeros(even, odd, length=200):
    """Return bytes with zeros at some even and some odd places."""
    content = bytearray(b"x" * length)
    content[0 : 2 * even : 2] = bytes(even)
    content[1 : 2 * odd + 1 : 2] = bytes(odd)
    return bytes(content)


@pytest.mark.parametrize(
    ("even", "odd", "codec"),
    [
        (0, 100, "utf-16-le"),
        (100, 0, "utf-16-be"),
        (0, 31, "utf-16-le"),
        (31, 0, "utf-16-be"),
        (0, 30, None),
        (30, 0, None),
        (9, 91, "utf-16-le"),
        (91, 9, "utf-16-be"),
        (9, 90, None),
        (90, 9, None),
        (9, 89, None),
        (89, 9, None),
        (0, 0, None),
    ],
)
def test_zeros_at_every_other_place_are_wide_text(even, odd, codec):
    assert text_reader._wide(_zeros(even, odd)) == codec


@pytest.mark.parametrize(
    ("head", "is_binary"),
    [
        (b"\x01" * 8, False),
        (b"\x01" * 9, True),
        (b"a" * 491 + b"\x01" * 9, False),
        (b"a" * 989 + b"\x01" * 20, False),
        (b"a" * 979 + b"\x01" * 21, True),
        (b"a" * 500 + b"\0" * 20, True),
        (b"a\t" * 30 + b"\0" * 20, False),
    ],
)
def test_more_than_a_few_control_characters_are_a_binary_file(head, is_binary):
    if is_binary:
        with pytest.raises(ExportError, match="a binary file"):
            text_reader._refuse_control("x", head)
    else:
        text_reader._refuse_control("x", head)


@pytest.mark.parametrize(
    ("content", "encoding", "codec", "skip"),
    [
        (b"\xef\xbb\xbfid", "utf8", "utf-8", 3),
        (b"id", "utf8", "utf-8", 0),
        (b"\xff\xfei\0", "utf-16", "utf-16-le", 2),
        (b"\xfe\xff\0i", "utf-16", "utf-16-be", 2),
        (b"i\0d\0", "utf-16", "utf-16-le", 0),
        (b"\xff\xfei\0", "cp1252", "cp1252", 0),
    ],
)
def test_a_named_encoding_skips_its_own_mark(tmp_path, content, encoding, codec, skip):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    opened = open_text(path, encoding=encoding)
    assert (opened.encoding, opened.skip) == (codec, skip)


@pytest.mark.parametrize(
    ("content", "page", "well"),
    [
        ("שלום".encode("cp1255"), "cp1255", True),
        ("straße".encode("cp1252"), "cp1252", True),
        (b"\x81\x8d", "cp1252", False),  # no characters of this page
        ("ö\N{EN DASH}".encode("cp1252"), "cp1252", False),
        (("ö" * 9 + "\N{EN DASH}").encode("cp1252"), "cp1252", True),
    ],
)
def test_a_page_reads_well_if_nearly_all_its_characters_are_letters(content, page, well):
    assert text_reader._reads_well(content, page) is well


def test_a_choice_of_schema_is_told_before_the_rows():
    items = []
    reader = SimpleNamespace(
        _send=items.append, _wanted=Wanted(TABLES, ZoneInfo("UTC")), _doing="", _compared=None
    )
    remark = Remark(RemarkKind.WARNING, "x", 0, "in b, which was read")
    known = SimpleNamespace(places=list, remarks=[remark])
    assert _Reader._tables_of(reader, known, again=False) == 0
    assert items == [remark]
