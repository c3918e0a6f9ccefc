"""GROUP BY in T-SQL: the server takes two parameters for different expressions, so equal expressions are rendered alike."""

import re

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.mssql.mssqlpython import MSDialect_mssqlpython
from targcc_scheduler.db.dialects.tsql import TSQL
from targcc_scheduler.db.tables import job_stat

C = job_stat.c
BUCKET = sa.func.coalesce(C.Count, 5)
BAD = C.Outcome.in_(["failed", "missed"])


def rendered(statement: sa.Select) -> tuple[str, dict]:
    """Return the statement and the parameters that the driver gets."""
    dialect = MSDialect_mssqlpython()
    dialect.statement_compiler = TSQL
    compiled = statement.compile(dialect=dialect)
    parameters = compiled.construct_params()
    state = compiled._process_parameters_for_postcompile(parameters)
    return " ".join(state.statement.split()), parameters


@pytest.mark.parametrize("label", [False, True], ids=["plain", "labelled"])
@pytest.mark.parametrize("group", [BUCKET, BAD], ids=["value", "condition"])
def test_an_expression_of_group_by_is_the_same_among_the_columns(group, label):
    column = group.label("Value") if label else group
    text, _ = rendered(sa.select(column, sa.func.sum(C.Count)).group_by(column).order_by(column))
    grouped = re.search(r"GROUP BY (.*) ORDER BY", text)[1]
    assert text.startswith(f"SELECT {grouped} AS ")
    assert ":" not in grouped
    assert "%" not in grouped


def test_a_condition_of_group_by_is_a_value():
    text, _ = rendered(sa.select(sa.func.count()).group_by(BAD))
    assert "GROUP BY CAST(CASE WHEN (c_JobStat.Outcome IN (N'failed', N'missed')) THEN 1" in text


def test_the_values_of_a_statement_that_is_compiled_once_are_those_of_each_execution():
    group = C.Count + sa.bindparam("most")
    dialect = MSDialect_mssqlpython()
    dialect.statement_compiler = TSQL
    compiled = sa.select(group).group_by(group).compile(dialect=dialect)
    texts = [
        compiled._process_parameters_for_postcompile(
            compiled.construct_params({"most": n})
        ).statement
        for n in (1, 2)
    ]
    assert [text.rpartition(" + ")[2] for text in texts] == ["1", "2"]
