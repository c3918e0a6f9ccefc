"""Names of stored procedures are always quoted as names, whatever they contain."""

import contextlib

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from targcc_scheduler.core.stored_values import metadata_json
from targcc_scheduler.services.database import Database
from targcc_scheduler.services.procedures import (
    ProcedureResult,
    parse_procedure,
    procedure_call,
    remark_of,
)

HOSTILE = (
    '"x[(); drop table canary; --]"',
    '"x[]"',
    '"[a]"',
    '"a[b]c"',
    '[x"(); drop table canary; --]',
    '[x""]',
    '"y""(); drop table canary; --"',
    '[a]]"; drop table canary; --]',
    '"100% [sure]"',
    "[%s]",
    "[%(name)s]",
    "[;]",
    "[--]",
    "[/*]",
    "[$$]",
    "['; drop table canary; --]",
    "[Ünïcode naïve]",
    "[:name]",
    "[a.b]",
    '"a.b"."c.d"',
)


@pytest.fixture
def postgresql(postgresql_url):
    made = Database(postgresql_url, threads=1)
    yield made
    made.close()


def quoted(name):
    """Quote a name as ``psycopg`` does; independent of the tested code."""
    return '"' + name.replace('"', '""') + '"'


async def test_a_hostile_name_is_the_name_of_a_procedure_and_nothing_else(postgresql):
    await postgresql.run(lambda c: c.exec_driver_sql("CREATE TABLE canary (id int)"))
    for name in HOSTILE:
        with pytest.raises(ValueError, match="no stored procedure"):
            await postgresql.call(name)
        *schema, last = (part.text for part in parse_procedure(name))
        made = ".".join(map(quoted, [*schema, last]))
        body = f"{made}() LANGUAGE plpgsql AS $body$ BEGIN NULL; END $body$"

        def make(connection, schema=schema, body=body):
            for schema_name in schema:
                connection.connection.cursor().execute(
                    f"CREATE SCHEMA IF NOT EXISTS {quoted(schema_name)}".encode()
                )
            connection.connection.cursor().execute(f"CREATE PROCEDURE {body}".encode())

        await postgresql.run(make)
        assert (await postgresql.call(name)).sets == (), name
    assert await postgresql.run(lambda c: c.execute(sa.text("SELECT * FROM canary")).all()) == []


def test_the_name_that_was_an_injection_is_quoted_as_it_stands():
    assert procedure_call("postgresql", HOSTILE[0], {}) == 'CALL "x[(); drop table canary; --]"()'
    assert procedure_call("mssql", '"a]; DROP TABLE x"', {}) == "EXEC [a]]; DROP TABLE x]"


@pytest.mark.parametrize(
    "name",
    ["Acme..SP", "Acme.dbo.SP", "a.b.c.d.e", '"a\0b"', "[a\nb]", "a...b", "'a'", '"a', "a b"],
)
def test_what_postgresql_knows_no_such_name_for_is_refused(name):
    with pytest.raises(ValueError, match=r"not the name|schema\.name"):
        procedure_call("postgresql", name, {})


@given(st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1))
def test_any_text_in_quotes_or_brackets_comes_out_as_one_name(text):
    for name in (quoted(text), f"[{text.replace(']', ']]')}]"):
        (part,) = parse_procedure(name)
        assert part.text == text
        sql = procedure_call("postgresql", name, {})
        assert sql == f"CALL {quoted(text)}()".replace("%", "%%")
        assert procedure_call("mssql", name, {}) == f"EXEC [{text.replace(']', ']]')}]"


async def test_a_function_and_a_stranger_are_told_apart(postgresql):
    await postgresql.run(
        lambda c: c.exec_driver_sql(
            "CREATE FUNCTION Total() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        )
    )
    with pytest.raises(ValueError, match="Total is a function"):
        await postgresql.call("Total")
    with pytest.raises(ValueError, match=r"no stored procedure dbo\.Total"):
        await postgresql.call("dbo.Total")


async def test_a_parameter_called_like_a_word_of_sql_is_bound(postgresql):
    await postgresql.run(
        lambda c: c.exec_driver_sql(
            'CREATE PROCEDURE Note("select" text, INOUT kept text) LANGUAGE plpgsql'
            ' AS $$ BEGIN kept := "select"; END $$'
        )
    )
    text = "'; drop table x; --"
    assert (await postgresql.call("NOTE", select=text, Kept=None)).rows == [{"kept": text}]


TYPES = """SELECT '\\x00ff'::bytea AS bytes, 1.50::numeric AS dec, 'NaN'::numeric AS nan,
 gen_random_uuid() AS id, interval '1 month 2 days' AS i, '{"a": [1]}'::jsonb AS j,
 ARRAY[1, NULL] AS a, int4range(1, 5) AS r, '10.0.0.0/8'::inet AS net, now() AS at, 'infinity'::float8 AS inf,
 B'101' AS bits, point(1, 2) AS p, '12:00+02'::timetz AS tz, 9223372036854775807 AS big"""


async def test_results_of_any_type_become_metadata(postgresql):
    def ask(connection):
        cursor = connection.connection.cursor()
        with contextlib.closing(cursor):
            cursor.execute(TYPES)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    kept = metadata_json({"rows": await postgresql.run(ask)})

    assert kept is not None
    assert "cannot be kept" not in kept
    assert '"dec": "1.50"' in kept


# Scripts: batches between lines with GO.


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    made = Database(url, threads=1)
    yield made
    made.close()


SCRIPT = "CREATE TABLE goods (id int, note varchar(20))\nGO\nINSERT INTO goods VALUES (1, '100% go')\n  go ;\nUPDATE goods SET id = id + 1\nGO\nSELECT id, note FROM goods"


async def test_a_script_is_executed_batch_by_batch(database):
    result = await database.script(SCRIPT)

    assert (result.rows, result.affected) == ([{"id": 2, "note": "100% go"}], 2)


async def test_batches_before_a_failed_batch_stay(database):
    with pytest.raises(Exception, match="nowhere"):
        await database.script("CREATE TABLE kept (id int)\nGO\nDELETE FROM nowhere\nGO\nDROP TABLE kept")  # fmt: skip

    assert (await database.script("SELECT count(*) AS n FROM kept")).rows == [{"n": 0}]


async def test_an_empty_script_does_nothing(database):
    assert (await database.script(" \nGO\n")).sets == ()


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ((), "dbo.P: 0 rows returned, 3 changed"),
        (([],), "dbo.P: 0 rows returned, 3 changed"),
        (([{"Id": None}, {"Id": 2}],), "dbo.P: 2 rows returned, 3 changed"),
        (([{"Remarks": "42 orders", "More": 1}], [{"Id": 1}]), "42 orders"),
        (([{"Count": 0}],), "0"),
        (([{"Version": b"\x00\xff"}],), "00ff"),
    ],
)
def test_the_message_of_a_procedure_is_its_first_value_or_the_numbers_of_rows(sets, message):
    result = ProcedureResult(sets, 3)

    assert result.message("dbo.P") == message
    assert remark_of(message) == result.remark
