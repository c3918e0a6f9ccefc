"""A login's right to run a procedure is known without running it: on PostgreSQL, and on SQL Server's protocol by its double."""

import pytest
import sqlalchemy as sa
from targcc_scheduler.services.database import Database
from targcc_scheduler.services.procedure_rights import ProcedureRight, procedure_right
from tds_double import tds_double

NAME = "dbo.usp_Close"


@pytest.fixture
def double():
    with tds_double() as made:
        made.answers["dm_exec_describe_first_result_set"] = []
        yield made


async def right(url, name=NAME):
    database = Database(url, threads=1)
    try:
        return await database.run(lambda connection: procedure_right(connection, name))
    finally:
        database.close()


def answers(may, identity, babelfish=None):
    row = {"login_name": "svc", "database_name": "acme", "may": may, "object_id": identity}
    return [row | {"babelfish": babelfish}]


async def test_a_login_with_the_right_may_run_it_and_nothing_is_executed(double):
    double.answers["HAS_PERMS_BY_NAME"] = answers(1, 7)

    assert await right(double.url()) == ProcedureRight(NAME, may=True, said="as svc in acme")
    assert not [text for text in double.seen if text.lstrip().upper().startswith("EXEC")]
    assert any("N'dbo.usp_Close'" in text or "'dbo.usp_Close'" in text for text in double.seen)
    assert any("'EXEC dbo.usp_Close'" in text for text in double.seen)


async def test_a_login_without_the_right_is_named_with_the_remedy(double):
    double.answers["HAS_PERMS_BY_NAME"] = answers(0, 7)
    found = await right(double.url())

    assert (found.may, found.said) == (False, "svc has no right to it in acme: GRANT EXECUTE")


async def test_a_missing_procedure_is_a_no(double):
    double.answers["HAS_PERMS_BY_NAME"] = answers(None, None)
    found = await right(double.url())

    assert (found.may, found.said) == (False, "no such procedure that svc sees in acme")


@pytest.mark.parametrize(
    ("kind", "may"),
    [
        ("TEMPORARY_TABLE", True),
        ("DYNAMIC_SQL", True),
        ("OBJECT_DOES_NOT_EXIST", None),
        ("MISC", None),
    ],
)
async def test_an_error_of_the_dry_call_counts_where_it_is_not_about_columns(double, kind, may):
    double.answers["HAS_PERMS_BY_NAME"] = answers(1, 7)
    double.answers["dm_exec_describe_first_result_set"] = [
        {"error_type_desc": kind, "error_message": "Invalid object\nname 'dbo.Totals'."}
    ]
    found = await right(double.url())

    assert found.may is may
    assert may or found.said == "Invalid object name 'dbo.Totals'."


async def test_babelfish_is_asked_for_the_right_alone(double):
    """It has no function that describes a call."""
    double.answers["HAS_PERMS_BY_NAME"] = answers(1, 7, "4.3.0")
    assert (await right(double.url())).may

    assert not any("dm_exec_describe_first_result_set" in text for text in double.seen)


async def test_a_procedure_of_a_linked_server_is_left_to_the_run(double):
    found = await right(double.url(), "other.acme.dbo.usp_Close")

    assert found.may is None
    assert "HAS_PERMS" not in "".join(double.seen)


async def test_a_name_with_brackets_is_asked_for_with_brackets(double):
    double.answers["HAS_PERMS_BY_NAME"] = answers(1, 7)
    await right(double.url(), 'dbo."Close ]Month"')

    assert any("'dbo.[Close ]]Month]'" in text for text in double.seen)


async def test_sqlite_has_no_procedures(tmp_path):
    found = await right(f"sqlite:///{tmp_path / 'jobs.db'}")

    assert found.may is False
    assert "APP_DATABASE_URL" in found.said


async def test_on_postgresql_the_right_is_that_of_the_login(postgresql_url):
    admin = sa.create_engine(postgresql_url.replace("postgresql://", "postgresql+psycopg://"))
    script = [
        "CREATE PROCEDURE usp_Close() LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it ran'; END $$",
        "REVOKE EXECUTE ON PROCEDURE usp_Close FROM PUBLIC",
        "DROP ROLE IF EXISTS rights_reader",
        "CREATE ROLE rights_reader LOGIN PASSWORD 'r'",
    ]
    with admin.begin() as connection:
        for statement in script:
            connection.exec_driver_sql(statement)
    reader = sa.make_url(postgresql_url).set(username="rights_reader", password="r")
    url = reader.render_as_string(hide_password=False)
    try:
        assert (await right(postgresql_url, "usp_close")).may is True
        refused = await right(url, "USP_Close")
        assert refused.may is False
        assert refused.said.startswith("rights_reader has no right to it")
        with admin.begin() as connection:
            connection.exec_driver_sql("GRANT EXECUTE ON PROCEDURE usp_Close TO rights_reader")
        assert (await right(url, "USP_Close")).may is True
        assert (await right(url, "usp_gone")).may is False
    finally:
        with admin.begin() as connection:
            connection.exec_driver_sql("DROP OWNED BY rights_reader; DROP ROLE rights_reader")
        admin.dispose()
