"""Lost content of a script is always reported: cut beginnings, MERGE, later statements, procedures."""

from pathlib import Path

import pytest
from targcc_gen.readers.rows import Remark, RemarkKind, Routine, Row
from targcc_gen.readers.text import Truncated
from targcc_gen.readers.tsql.routines import routine_of
from targcc_gen.readers.tsql.script import read_tsql
from targcc_gen.sources.c_job.tables import TABLES

COLUMNS = "([ID],[JobName],[CronExpression],[StoredProcName],[IsActive])"
ROWS = (
    "1,N'Nightly load',N'0 2 * * *',N'dbo.usp_Load',1",
    "2,N'O''Brien (old)',N'0 6 * * *',NULL,0",
)
REST = f"""ON ([Target].[ID] = [Source].[ID])
WHEN MATCHED AND (NULLIF([Source].[JobName], [Target].[JobName]) IS NOT NULL) THEN
 UPDATE SET [Target].[JobName] = [Source].[JobName]
WHEN NOT MATCHED BY TARGET THEN
 INSERT{COLUMNS} VALUES([Source].[ID],[Source].[JobName],[Source].[CronExpression],[Source].[StoredProcName],[Source].[IsActive])
WHEN NOT MATCHED BY SOURCE THEN
 DELETE;
"""
LATER = "INSERT c_Job (ID, JobName) VALUES (9, N'Later')\nGO\n"


def items(text, size=1 << 20):
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    return list(read_tsql(pieces, "dump.sql", TABLES))


def rows(text):
    return [item for item in items(text) if isinstance(item, Row)]


def remarks(text):
    return [item for item in items(text) if isinstance(item, Remark)]


def merge(source):
    return (
        f"SET NOCOUNT ON\n\nMERGE INTO [dbo].[c_Job] AS [Target]\nUSING {source}\n{REST}GO\n{LATER}"
    )


VALUES = f"(VALUES\n  ({ROWS[0]})\n ,({ROWS[1]})\n) AS [Source] {COLUMNS}"
UNION = f"(SELECT {ROWS[0]}\n UNION ALL SELECT {ROWS[1]}\n) AS [Source] {COLUMNS}"
STAR = f"(SELECT * FROM (VALUES ({ROWS[0]}), ({ROWS[1]})) AS v {COLUMNS}) AS [Source]"


@pytest.mark.parametrize("source", [VALUES, UNION, STAR])
def test_the_rows_of_a_merge_are_rows(source):
    merge_rows = rows(merge(source))

    assert [row.values["jobname"] for row in merge_rows] == [
        "Nightly load",
        "O'Brien (old)",
        "Later",
    ]
    assert merge_rows[1].values == {
        "id": 2, "jobname": "O'Brien (old)", "cronexpression": "0 6 * * *", "storedprocname": None, "isactive": 0,
    }  # fmt: skip
    assert merge_rows[0].table == "c_job"


def test_the_lines_of_a_merge_are_those_of_its_rows():
    assert [row.line for row in rows(merge(VALUES))] == [5, 6, 16]


def test_that_a_merge_would_remove_rows_is_told():
    (remark,) = remarks(merge(VALUES))

    assert "removes rows that it does not name" in remark.text


def test_a_merge_from_a_table_has_no_rows_and_says_so():
    (remark,) = remarks(f"MERGE dbo.c_Job AS t USING stage.Jobs AS s {REST}{LATER}")

    assert (remark.kind, remark.text) == (
        RemarkKind.SKIPPED,
        "MERGE c_Job is not carried out: its rows are not in the script",
    )
    assert len(rows(f"MERGE dbo.c_Job AS t USING stage.Jobs AS s {REST}{LATER}")) == 1


def test_a_row_of_a_merge_that_cannot_be_read_is_counted():
    text = merge(VALUES.replace("N'Nightly load'", "N'Nightly' load 7"))

    assert [remark.kind for remark in remarks(text)][:1] == [RemarkKind.UNREADABLE]
    assert len(rows(text)) == 2


@pytest.mark.parametrize("source", [VALUES, UNION, STAR])
def test_a_merge_that_is_cut_off_is_refused_or_loses_no_row_in_silence(source):
    text = merge(source)
    end = text.index("WHEN MATCHED")
    for length in range(text.index("USING") + 6, end, 3):
        try:
            read_items = items(text[:length])
        except Truncated:
            continue
        assert [item for item in read_items if isinstance(item, Remark)] or len(
            read_items
        ) == 2, text[:length]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (VALUES.replace(",1)", ",1,7)", 1), "6 values for 5 columns"),
        (VALUES.replace("[ID],", "", 1), "5 values for 4 columns"),
        (UNION.replace("SELECT 1,", "SELECT 1 AS [ID],"), None),
        (UNION.replace("SELECT 1,", "SELECT 1 [ID],").replace("UNION ALL", "UNION"), None),
        ("(SELECT * FROM stage.Jobs) AS s", "its rows are not in the script"),
        (
            "(SELECT ID, JobName FROM stage.Jobs) AS s (ID, JobName)",
            "its rows are not in the script",
        ),
        ("(EXEC x) AS s", "its rows are not in the script"),
    ],
)
def test_other_merges_are_read_or_said(source, reason):
    texts = [remark.text for remark in remarks(merge(source)) if "does not name" not in remark.text]

    assert bool(texts) == bool(reason)
    assert reason is None or reason in texts[0]
    assert rows(merge(source))[-1].values["jobname"] == "Later"


@pytest.mark.parametrize(
    "cut",
    [
        "ight load', N'0 2 * * *', N'dbo.usp_Load', 1)\nGO\n",
        "0 2 * * *', 1)\n",
        ", 1)\n",
        "[c_Job] ([ID], [JobName]) VALUES (1, N'A')\nGO\n",
        "ALUES (1, N'A')\n",
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_file_that_begins_in_mid_statement_says_what_it_lost_and_reads_the_rest(cut, size):
    read_items = items(cut + LATER + LATER.replace("9", "10"), size)
    (remark,) = [item for item in read_items if isinstance(item, Remark)]

    assert [row.values["id"] for row in read_items if isinstance(row, Row)] == [9, 10]
    assert remark.kind is RemarkKind.UNREADABLE
    assert (remark.table, remark.line) == ("c_job", 1)
    assert "the file begins in the middle of a statement" in remark.text
    assert next(row.line for row in read_items if isinstance(row, Row)) == cut.count("\n") + 1


@pytest.mark.parametrize(
    "start",
    [
        "", "\n\n", "-- a comment\n", "/* a\n comment */\n", "USE [Jobs]\nGO\n", ":setvar x 1\n", "GO\n",
        "sp_configure 'x', 1\nGO\n", "\ufeff", ";", "/****** Object:  Table [dbo].[c_Job] ******/\nSET ANSI_NULLS ON\nGO\n",
    ],
)  # fmt: skip
def test_a_whole_file_is_not_called_cut(start):
    text = (start + LATER).lstrip("\ufeff")

    assert remarks(text) == []
    assert len(rows(text)) == 1


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE c_Job SET IsActive = 0 WHERE ID = 9", ("id", ("9",))),
        ("UPDATE [dbo].[c_Job] SET [IsActive] = 0, JobName = N'x' WHERE ([ID] IN (9, 10))", ("id", ("9", "10"))),
        ("DELETE FROM c_Job WHERE JobName = N'Later'", ("jobname", ("Later",))),
        ("UPDATE c_Job SET IsActive = 0 WHERE ID > 4", None),
        ("UPDATE c_Job SET IsActive = 0", None),
    ],
)  # fmt: skip
def test_a_statement_that_changes_rows_names_them(statement, where):
    read_items = items(f"{LATER}{statement}\n{LATER.replace('9', '11')}")
    (remark,) = [item for item in read_items if isinstance(item, Remark)]

    assert remark.kind is RemarkKind.SKIPPED
    assert remark.where == where
    assert len([item for item in read_items if isinstance(item, Row)]) == 2


def test_an_update_does_not_swallow_what_follows():
    text = f"UPDATE c_Job SET IsActive = 0 WHERE ID = 9 SET IDENTITY_INSERT c_Job ON {LATER}SET IDENTITY_INSERT c_Job OFF"

    assert len(rows(text)) == 1
    assert len(remarks(text)) == 1


def test_a_procedure_tells_what_it_touches():
    (routine,) = [
        item
        for item in items(
            "CREATE OR ALTER PROCEDURE [dbo].[usp Load] AS\nBEGIN\n  INSERT INTO stage.Orders (a) SELECT a FROM dbo.Orders o\n"
            "  JOIN [dbo].[Lines] l ON l.a = o.a\n  UPDATE dbo.Totals SET x = 1\n  DELETE FROM dbo.Old\n  TRUNCATE TABLE dbo.Tmp\n"
            "  EXEC dbo.usp_Mail @to = 'x'\n  SELECT * INTO #t FROM (SELECT 1) q\nEND\nGO\n" + LATER
        )
        if isinstance(item, Routine)
    ]

    assert routine.name == "dbo.usp Load"
    assert routine.writes == ("stage.Orders", "dbo.Totals", "dbo.Old", "dbo.Tmp")
    assert routine.reads == ("dbo.Orders", "dbo.Lines")
    assert routine.calls == ("dbo.usp_Mail",)


@pytest.mark.parametrize(
    "text",
    [
        "/* CREATE PROC */ -- it's\nCREATE PROC dbo.Old AS INSERT stage.Orders SELECT a FROM dbo.Orders EXEC dbo.usp_Mail",
        (
            "CREATE OR REPLACE PROCEDURE dbo.usp_load() LANGUAGE sql AS $p$ INSERT INTO stage.Orders SELECT a FROM dbo.Orders;"
            " EXECUTE dbo.usp_Mail $p$ 'and the text is cut"
        ),
    ],
)
def test_a_procedure_of_a_database_goes_by_its_name_there(text):
    routine = routine_of("dbo.usp_Load", text, "acme/sys.procedures", 4)

    assert routine[:3] == ("dbo.usp_Load", "acme/sys.procedures", 4)
    assert routine[3:6] == (("stage.Orders",), ("dbo.Orders",), ("dbo.usp_Mail",))


def test_the_sample_scripts_read_as_before():
    folder = Path(__file__).parents[2] / "data" / "legacy"
    for path in folder.glob("*.sql"):
        assert not [
            remark
            for remark in remarks(path.read_text(encoding="utf-8"))
            if "begins in the middle" in remark.text
        ], path.name
