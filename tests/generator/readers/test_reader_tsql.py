from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from targcc_gen.readers.rows import Remark, RemarkKind, Row, Unknown
from targcc_gen.readers.text import Truncated
from targcc_gen.readers.tsql.script import read_tsql
from targcc_gen.sources.c_job.tables import TABLES

SCRIPTS = Path(__file__).parents[2] / "data" / "legacy"


def wall(*parts):
    """Return a time on the old server's wall clock."""
    return datetime(*parts)  # noqa: DTZ001 - it has no zone


def items(text, *, size=1 << 20):
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    return list(read_tsql(pieces, "dump.sql", TABLES))


def rows(text, **options):
    return [dict(item.values) for item in items(text, **options) if isinstance(item, Row)]


def remarks(text):
    return [item for item in items(text) if isinstance(item, Remark)]


def values(expression):
    """Return the value of an expression as the only value of a row."""
    (row,) = rows(f"INSERT c_Job (x) VALUES ({expression})")
    return row["x"]


@pytest.mark.parametrize(
    ("script", "count"),
    [
        ("01_ssms_modern.sql", 2),
        ("03_multirow_values.sql", 3),
        ("05_embedded_go_newlines.sql", 1),
        ("06_comments.sql", 1),
        ("07_no_columns.sql", 1),
        ("09_convert_style.sql", 3),
        ("11_concat_char.sql", 1),
        ("14_create_table.sql", 0),
        ("16_begin_tran_try.sql", 1),
        ("19_bracket_escape_reserved.sql", 1),
        ("21_sqlcmd_directives.sql", 1),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_every_row_of_a_script_comes_out_wherever_the_file_is_cut_into_pieces(script, count, size):
    text = (SCRIPTS / script).read_text(encoding="utf-8")

    assert len(rows(text, size=size)) == count
    assert items(text, size=size) == items(text)


def test_an_ssms_script_gives_typed_values_and_the_line_of_each_row():
    first, second = items((SCRIPTS / "01_ssms_modern.sql").read_text())

    assert first.table == "c_job"
    assert first.values["storedprocname"] == "dbo.usp_Nightly"
    assert first.values["lastrun"] == wall(2024, 1, 31, 2)
    assert (second.values["jobname"], second.values["lastrun"]) == ("O'Brien's job", None)
    assert (first.line, second.line) == (5, 7)


def test_go_and_comment_signs_inside_a_string_are_text():
    (row,) = rows((SCRIPTS / "05_embedded_go_newlines.sql").read_text())

    assert row["lastresult"].splitlines()[1] == "GO"
    assert "/* nor this */" in row["lastresult"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("NULL", None),
        ("-1", -1),
        ("1.5", 1.5),
        ("$12", 12),
        ("N'O''Brien'", "O'Brien"),
        ("'a' + CHAR(10) + N'b'", "a\nb"),
        ("'a' COLLATE Hebrew_CI_AS", "a"),
        ("((1))", 1),
        ("REPLACE('a\\nb', '\\n', CHAR(10))", "a\nb"),
        ("ISNULL(NULL, 'x')", "x"),
        ("CONCAT('a', NULL, 1)", "a1"),
        ("CAST(1 AS bit)", 1),
        ("CAST('true' AS bit)", 1),
        ("CAST(N'2024-01-31T02:00:00.123' AS DateTime)", wall(2024, 1, 31, 2, 0, 0, 123000)),
        (
            "CAST(N'2024-01-31T02:00:00.1234567' AS DateTime2(7))",
            wall(2024, 1, 31, 2, 0, 0, 123456),
        ),
        ("CAST(0x0000A5F001101F7C AS DateTime)", wall(2016, 4, 22, 16, 30, 46, 173000)),
        ("CAST(0xFFFFFFFF00000000 AS DateTime)", wall(1899, 12, 31)),
        ("CAST(0xA5F00260 AS SmallDateTime)", wall(2016, 4, 22, 10, 8)),
        ("CAST(0x5B950A00 AS Date)", wall(1900, 1, 1)),
        ("CONVERT(datetime, '31/01/2024 02:00:00', 103)", wall(2024, 1, 31, 2)),
        ("CONVERT(datetime, '01/31/2024', 101)", wall(2024, 1, 31)),
        ("CONVERT(datetime, 'Jan 31 2024  2:00PM')", wall(2024, 1, 31, 14)),
        ("CONVERT([datetime2](7), '20240131 02:00')", wall(2024, 1, 31, 2)),
        ("{ts '2024-01-31 02:00:00'}", wall(2024, 1, 31, 2)),
    ],
)
def test_a_value_means_what_sql_server_would_make_of_it(expression, value):
    assert values(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["GETDATE()", "SYSUTCDATETIME()", "DEFAULT", "@nobody", "(SELECT MAX(ID) FROM x)", "dbo.f(1, (2))",
     "CASE WHEN 1 = 1 THEN 'a' END", "'a' + @nobody", "CAST('soon' AS datetime)", "SCOPE_IDENTITY()", "CURRENT_TIMESTAMP"],
)  # fmt: skip
def test_what_only_the_server_could_know_is_unknown_and_the_row_is_kept(expression):
    assert isinstance(values(expression), Unknown)
    assert rows(f"INSERT c_Job (a, b) VALUES ({expression}, 2)")[0]["b"] == 2


def test_declared_variables_are_known_until_their_batch_ends():
    script = """
        DECLARE @name nvarchar(20) = N'Ann', @t TABLE (a int, b int), @now datetime = GETDATE()
        SET @name = @name + 'e'
        INSERT c_Job (a, b) VALUES (@name, @now)
        GO
        INSERT c_Job (a, b) VALUES (@name, 1)
    """
    known, later = rows(script)

    assert known == {"a": "Anne", "b": Unknown("GETDATE()")}
    assert isinstance(later["a"], Unknown)


def test_dateformat_decides_how_dates_without_a_style_are_read():
    (row,) = rows("SET DATEFORMAT dmy INSERT c_Job (x) VALUES (CONVERT(datetime, '02/01/2024'))")

    assert row["x"] == wall(2024, 1, 2)


def test_insert_select_union_all_gives_a_row_for_each_select():
    script = """INSERT INTO [JobDb]..[c_Job] (ID, JobName)
        SELECT 1, 'A' UNION ALL
        SELECT 2 AS ID, 'B' AS [JobName] WHERE NOT EXISTS (SELECT 1 FROM c_Job WHERE ID = 2)
        UNION ALL SELECT 3, 'C';
        INSERT c_Job (ID, JobName) SELECT * FROM (VALUES (4, 'D'), (5, 'E')) AS v (a, b)"""

    assert [row["jobname"] for row in rows(script)] == ["A", "B", "C", "D", "E"]


def test_columns_come_from_create_table_where_the_insert_names_none():
    script = """CREATE TABLE dbo.c_Job (
          ID int IDENTITY(1,1) NOT NULL, JobName varchar(100) DEFAULT ('a, b'), Twice AS (ID * 2),
          CONSTRAINT pk PRIMARY KEY CLUSTERED (ID ASC) WITH (PAD_INDEX = OFF))
        GO
        INSERT dbo.c_Job VALUES ('A')"""

    assert rows(script) == [{"jobname": "A"}]


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE c_Job SET IsActive = 0", "UPDATE"),
        ("DELETE FROM dbo.c_Job WHERE ID = 1", "DELETE"),
        ("TRUNCATE TABLE c_Job", "TRUNCATE"),
        ("MERGE c_Job AS t USING x ON 1=1 WHEN NOT MATCHED THEN INSERT (ID) VALUES (9);", "MERGE"),
        ("EXEC('INSERT c_Job VALUES (1)')", "EXEC"),
        ("BULK INSERT c_Job FROM 'c:\\x.csv'", "BULK INSERT"),
        (
            "GO\nCREATE TRIGGER t ON c_Job AFTER INSERT AS INSERT INTO c_Job VALUES (1)\nGO",
            "TRIGGER",
        ),
    ],
)
def test_what_changes_data_without_being_rows_is_reported_with_its_line(statement, word):
    script = f"INSERT c_Job (ID) VALUES (1)\n\n{statement}\nINSERT c_Job (ID) VALUES (2)"

    assert [row["id"] for row in rows(script)] == [1, 2]
    (remark,) = remarks(script)
    assert word in remark.text
    assert remark.kind is RemarkKind.SKIPPED
    assert remark.line in {3, 4}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT c_Job EXEC usp_Rows",
        "INSERT c_Job SELECT ID FROM Other.dbo.c_Job",
        "INSERT c_Job DEFAULT VALUES",
        "INSERT c_Job (ID, JobName) VALUES (1)",
        "INSERT c_Job (ID, JobName) VALUES (1, 2 3)",
        "INSERT c_Job VALUES (1, 2, 3)",
    ],
)
def test_an_insert_whose_row_cannot_be_known_is_a_row_all_the_same(statement):
    script = f"{statement}\nGO\nINSERT c_Job (ID) VALUES (7)"
    unreadable, good = items(script)

    assert (unreadable.kind, unreadable.table, unreadable.line) == (
        RemarkKind.UNREADABLE,
        "c_job",
        1,
    )
    assert good.values == {"id": 7}


def test_a_row_whose_bracket_stays_open_ends_at_the_go_and_says_so():
    broken, good = items("INSERT c_Job (ID) VALUES (1\nGO\nINSERT c_Job (ID) VALUES (7)")

    assert broken.text == "its bracket is still open at the GO on line 2"
    assert good.values == {"id": 7}


def test_words_of_constraints_and_permissions_are_no_statements():
    script = """ALTER TABLE a ADD CONSTRAINT f FOREIGN KEY (x) REFERENCES b (y) ON DELETE CASCADE ON UPDATE NO ACTION
        GRANT INSERT, UPDATE ON c_Job TO public
        INSERT c_Job (ID) VALUES (1)"""

    assert [type(item) for item in items(script)] == [Row]


def test_a_batch_that_is_repeated_is_taken_once_and_said():
    (remark,) = remarks("INSERT c_Job (ID) VALUES (1)\nGO 5\n")

    assert remark.text == "GO 5 repeats the batch of line 1; its rows were taken once"


def test_sqlcmd_variables_are_put_in_and_includes_are_named():
    script = ":setvar Who \"Ann\"\n:r other.sql\nINSERT c_Job (a) VALUES (N'$(Who)')"

    assert rows(script) == [{"a": "Ann"}]
    assert "other.sql" in remarks(script)[0].text


@pytest.mark.parametrize(
    ("end", "line"),
    [
        ("INSERT [dbo].[c_Job] ([ID], [JobName]) VALUES (2, N'half a na", 2),
        ("INSERT [dbo].[c_Job] ([ID], [JobName]) VALUES (2, ", 2),
        ("INSERT [dbo].[c_Job] ([ID], [Jo", 2),
        ("INSERT [dbo].[c_Job] ([ID], [JobName]) ", 2),
        ("INSERT [dbo].[c_Job] ([ID], [JobName]) VALUES", 2),
        ("INSERT [dbo].[c_Job] ([ID], [JobName]) VALUES (2, 'A'),", 2),
        ("\n/* a comment /* in a comment */", 3),
    ],
)
def test_a_script_that_is_cut_off_names_the_line_where_it_breaks(end, line):
    script = f"INSERT [dbo].[c_Job] ([ID], [JobName]) VALUES (1, N'A')\n{end}"

    with pytest.raises(Truncated, match=rf"^dump\.sql:{line}: "):
        items(script)


def test_a_script_that_is_cut_off_between_rows_is_suspected():
    (remark,) = remarks(
        "SET IDENTITY_INSERT [dbo].[c_Job] ON \nGO\nINSERT c_Job (ID) VALUES (1)\nGO\n"
    )

    assert "may be cut off" in remark.text


NOISE = st.sampled_from(
    ["GO", "SET NOCOUNT ON", "-- INSERT c_Job (ID) VALUES (0)", "/* INSERT /* c_Job */ VALUES (0) */", "print 'INSERT'",
     "BEGIN TRAN", "COMMIT", "IF 1 = 1", "USE [x]", "DECLARE @a int = 1", "SELECT @a = 2", "EXEC sp_who", ";"]
)  # fmt: skip
CELL = st.one_of(
    st.integers(-9, 9).map(str),
    st.text().map(lambda text: "N'" + text.replace("'", "''") + "'"),
    st.sampled_from(["NULL", "GETDATE()", "CAST(N'2024-01-31T02:00:00' AS DateTime)", "'a' + 'b'"]),
)


@given(st.lists(st.tuples(NOISE, st.lists(CELL, min_size=1, max_size=4)), max_size=20))
@settings(deadline=None)
def test_no_insert_is_lost_whatever_stands_between(parts):
    script = ""
    for noise, cells in parts:
        columns = ", ".join(f"c{number}" for number in range(len(cells)))
        script += f"{noise}\nINSERT [dbo].[c_Job] ({columns}) VALUES ({', '.join(cells)})\n"

    assert [len(row) for row in rows(script)] == [len(cells) for _, cells in parts]


FRAGMENTS = st.sampled_from(
    ["INSERT", "INTO", "c_Job", "[x]", "(", ")", ",", "VALUES", "SELECT", "UNION ALL", "'", "''", "N'a'", "1", "0x", "--", "/*",
     "*/", "\n", "\nGO\n", "\nGO 5", ";", "@a", "=", "CAST(", "AS", "CASE", "END", "CREATE TABLE t (", "MERGE", "DECLARE",
     "SET", ".", "+", "-", '"', "$(x)", ":", "!!", "FROM", "EXEC", "CONVERT(", "{", "}", "OUTPUT", "TOP", "WITH", "\\", "é", "٣"]
)  # fmt: skip


@pytest.mark.slow
@given(st.lists(st.one_of(FRAGMENTS, st.text(max_size=3)), max_size=60), st.integers(1, 50))
@settings(max_examples=300, deadline=None)
@example(["INSERT", "c_Job", "VALUES", "(", "٣"], 1)
@example(["INSERT", "c_Job", "SELECT", ")", "("], 1)
@example(["INSERT", "c_Job", "SELECT", ")", "(", "\nGO\n"], 1)
@example(["INSERT", "c_Job", "SELECT TOP", ")"], 1)
@example(["INSERT", "TOP", "("], 1)
@example(["INSERT", "c_Job", "WITH", "(", "\nGO\n"], 1)
def test_any_text_is_read_to_its_end_or_refused_in_words(parts, size):
    text = " ".join(parts)
    try:
        read_items = items(text, size=size)
    except Truncated as error:
        if not error.message.startswith("dump.sql:"):
            raise
    else:
        assert read_items == items(text)


def test_a_long_script_stays_out_of_memory():
    import tracemalloc

    def script():
        for number in range(40_000):
            yield f"INSERT [dbo].[c_LoggedJob] ([ID], [Remarks]) VALUES ({number}, N'{'x' * 200}')\r\nGO\r\n"

    tracemalloc.start()
    count = sum(isinstance(item, Row) for item in read_tsql(script(), "dump.sql", TABLES))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 40_000
    assert peak < 4_000_000
