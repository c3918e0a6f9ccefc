"""Statements as SQL Server gets them, without a server."""

import pytest
import sqlalchemy as sa
from targcc_scheduler.db.columns import joined_texts
from targcc_scheduler.db.dialects.mssql import DIALECT
from targcc_scheduler.db.dialects.mssql_driver import AsyncMSDialect
from targcc_scheduler.db.dialects.tsql import TSQL
from targcc_scheduler.db.tables import job_run, job_setting

C = job_run.c
TABLE = sa.table("c_Things", sa.column("Name", sa.Unicode), sa.column("Content", sa.LargeBinary))


def text_of(statement: sa.ClauseElement) -> str:
    """Compile a statement for SQL Server, in one line."""
    dialect = AsyncMSDialect(paramstyle="pyformat")
    dialect.statement_compiler = TSQL
    return " ".join(str(statement.compile(dialect=dialect)).split())


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        (sa.select(C.Id).with_for_update(), "c_JobRun WITH (UPDLOCK, ROWLOCK)"),
        (
            sa.select(C.Id).with_for_update(skip_locked=True),
            "c_JobRun WITH (UPDLOCK, ROWLOCK, READPAST)",
        ),
        (sa.select(C.Id).with_for_update(read=True), "c_JobRun WITH (REPEATABLEREAD, ROWLOCK)"),
        (sa.select(C.Id).limit(3), "SELECT TOP (%(param_1)s)"),
        (
            sa.select(C.Id).where(C.Message.like("a[b%", escape="\\")),
            r"LIKE REPLACE(%(Message_1)s, '[', '\[') ESCAPE '\'",
        ),
        (
            sa.select(C.Id).where(C.Message.not_like("a[b%")),
            "NOT LIKE REPLACE(%(Message_1)s, '[', '[[]')",
        ),
        (
            sa.select(joined_texts(C.JobName, "; ")),
            "STRING_AGG(CAST(c_JobRun.JobName AS nvarchar(max)), '; ')",
        ),
        (
            sa.insert(TABLE).values(Name="a", Content=None),
            "VALUES (%(Name)s, CAST(%(Content)s AS varbinary(max)))",
        ),
        (
            DIALECT.insert_ignore(job_setting, [job_setting.c.Name]).values(Name="a", Value="b"),
            "WHERE NOT EXISTS (SELECT 1 FROM c_JobSetting AS present WITH (UPDLOCK, HOLDLOCK)",
        ),
        (
            DIALECT.upsert(job_setting, [job_setting.c.Name], {"Name": "a", "Value": "b"}),
            "UPDATE present SET Value = given.Value FROM c_JobSetting AS present WITH (UPDLOCK, HOLDLOCK)",
        ),
    ],
)
def test_a_statement_has_the_form_of_sql_server(statement, part):
    assert part in text_of(statement)


def test_the_recursive_part_of_a_query_has_neither_an_aggregate_nor_a_top():
    level = DIALECT.each_value(C.Priority, C.Queue == "default")
    _, recursive = text_of(sa.select(level.c.value)).split("UNION ALL")
    assert "row_number() OVER (ORDER BY c_JobRun.Priority DESC)" in recursive.replace(
        "ROW_NUMBER", "row_number"
    )
    assert not {word for word in ("max(", "min(", "TOP", "DISTINCT") if word in recursive}


def test_rows_among_rows_are_values_for_plain_code_too():
    engine = sa.create_engine("mssql+mssqlpython://server/name")
    DIALECT.set_up(engine)
    statement = sa.select(C.Id).where(sa.tuple_(C.JobName, C.Priority).in_([("a", 1), ("b", 2)]))
    options = {"render_postcompile": True}
    text = str(statement.compile(dialect=engine.dialect, compile_kwargs=options))
    assert "FROM (VALUES (" in text
