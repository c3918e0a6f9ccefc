"""The evidence for SQL Server can fail: each rule finds its example, and Microsoft's parser names the place of a broken statement."""

import sys

import pytest
import sqlalchemy as sa
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_limit, job_run, job_setting

from tsql import cli, collecting, parsing, rules

GOOD = (
    "SELECT TOP (@most) a.n, count(*) AS c FROM a GROUP BY a.n HAVING count(*) > @least ORDER BY a.n",
    "WITH t AS (SELECT 1 AS n UNION ALL SELECT a.n FROM a JOIN t ON t.n = a.p) SELECT t.n FROM t",
    """WITH t AS (
        SELECT max(a.n) AS n FROM a
        UNION ALL SELECT x.n FROM (SELECT a.n, row_number() OVER (ORDER BY a.n DESC) AS r FROM a JOIN t ON a.n < t.n) AS x WHERE x.r = 1
    ) SELECT t.n FROM t""",
    "UPDATE a SET n = b.n FROM a JOIN b ON b.id = a.id WHERE a.n IS NULL AND b.is_on = 1",
    "INSERT INTO a (n) OUTPUT inserted.id SELECT t.n FROM (VALUES (1, 2), (2, 3)) AS t (ordinal, n) ORDER BY t.ordinal",
    "SELECT CAST(CASE WHEN (EXISTS (SELECT * FROM a)) THEN 1 ELSE 0 END AS BIT) AS is_there",
    "SELECT sum(CASE WHEN a.n = 1 THEN 1 ELSE 0 END) AS ones, max(a.n) AS most FROM a",
    "SELECT j.[key], j.value FROM OPENJSON(@listed) AS j JOIN a ON a.n = CAST(j.value AS bigint)",
)


@pytest.mark.parametrize("rule", [*rules.RULES, rules.UNKNOWN], ids=lambda rule: rule.name)
def test_a_rule_finds_its_example(rule):
    assert rule.name in {item.rule.name for item in rules.breaks(rule.example)}


@pytest.mark.parametrize("statement", GOOD)
def test_a_statement_that_servers_accept_breaks_no_rule(statement):
    assert rules.breaks(statement) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("CREATE UNIQUE INDEX UX_Text ON c_Job (Text);", "2000 bytes"),
        ("CREATE UNIQUE INDEX UX_Key ON c_Job (Name, Note);", "a second NULL in Note"),
        ("CREATE UNIQUE INDEX UX_Key ON c_Job (Note) WHERE Note IS NOT NULL;", ""),
        ("CREATE INDEX IX_Some ON c_Job (Name) WHERE Name = 'a' OR Name = 'b';", "error 10735"),
        ("CREATE INDEX IX_Name ON c_Job (Name) INCLUDE (Text) WHERE Name IN ('a', 'b');", ""),
    ],
)
def test_keys_that_servers_refuse(line, problem):
    table = """\
CREATE TABLE c_Job (
    Id BIGINT NOT NULL IDENTITY,
    Name NVARCHAR(100) NOT NULL,
    Note NVARCHAR(50) NULL,
    Text NVARCHAR(1000) NOT NULL,
    CONSTRAINT PK_c_Job PRIMARY KEY (Id)
);

GO

"""
    problems = rules.key_breaks(table + line + "\n")
    assert len(problems) == bool(problem)
    assert problem in "".join(problems)


@pytest.mark.usefixtures("_remembering_dialects")
def test_parts_that_a_dialect_has_built_are_built_again_for_sql_server():
    postgresql = known.named("postgresql")
    condition = postgresql.among(job_run.c.Id, [1, 2])
    upsert = postgresql.upsert(job_setting, [job_setting.c.Name], {"Name": "a", "Value": "1"})
    texts = [
        collecting.for_server(statement.compile(dialect=sa.dialects.postgresql.dialect()))
        for statement in (sa.select(job_run.c.Id).where(condition), upsert)
    ]
    assert "IN (SELECT CAST(" in texts[0]
    assert "openjson" in texts[0]
    assert "ON CONFLICT" not in texts[1]
    assert "UPDLOCK" in texts[1]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        (sa.select(sa.func.max(job_limit.c.IsAwaited)), "max of a bit"),
        (sa.select(sa.func.avg(job_run.c.Attempt)), "cut off"),
    ],
)
def test_aggregates_that_t_sql_refuses_or_cuts_off(query, problem):
    with pytest.raises(TypeError, match=problem):
        collecting.for_server(query.compile(dialect=sa.dialects.postgresql.dialect()))


@pytest.fixture
def _remembering_dialects():
    """Let the dialects remember what they build, as in the scheduler's tests."""
    if not hasattr(known.named("postgresql").among, "__wrapped__"):
        for name in ("sqlite", "postgresql"):
            collecting._instrument(known.named(name))


@pytest.mark.skipif(sys.platform != "linux", reason="the parser is a program for Linux")
@pytest.mark.usefixtures("processes")
def test_the_parser_names_the_place_of_a_broken_statement():
    statements = {
        "SELECT a.n FROM a": "kernel/good.py:1",
        "SELECT a.n\nFROM a LIMIT 5": "kernel/broken.py:2",
        "UPDATE a SET n = 1 WHERE a.n = 2": "kernel/good.py:3",
        "SELECT a.n FROM a WHERE (a.n, a.m) IN (SELECT 1, 2)": "kernel/rows.py:4",
    }
    refused = cli.parsed(statements)
    assert [(item.place, item.part) for item in refused.values()] == [
        ("kernel/broken.py:2", "FROM a LIMIT →5"),
        ("kernel/rows.py:4", refused[list(statements)[3]].part),
    ]
    with parsing.running() as parser:
        assert parser.parse(["SELECT 1 AS one"]) == []
