"""Requirements to a database of SQL Server: each refusal names the statement that mends it."""

from types import SimpleNamespace

import pytest
import sqlalchemy as sa
import sqlglot
from targcc_scheduler.core.errors import DatabaseUnfit, RightsMissing
from targcc_scheduler.db.dialects import mssql_requirements, mssql_script
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.schema_setup import roles_sql

GOOD = {
    "name": "jobs", "snapshots": True, "level": 160, "durability": "DISABLED", "version": "16.0.4135.4",
    "edition": "Standard Edition (64-bit)", "engine": 2, "babelfish": None, "updateability": "READ_WRITE",
}  # fmt: skip
ALL = {"select_": 1, "insert_": 1, "update_": 1, "delete_": 1}


class Server:
    """Answers the questions of the module as a server would.

    Args:
        tables: The tables that the user sees, with the user's rights.
        creates: Whether the user may create tables.
        database: What differs from a database that fits.
    """

    def __init__(self, tables=None, *, creates=True, **database):
        visible = {"c_JobRun": {}, "c_AlembicVersion": {}} if tables is None else tables
        rights = [SimpleNamespace(name=name, **{**ALL, **more}) for name, more in visible.items()]
        ddl = SimpleNamespace(
            name="jobs", person="jobs]x", owner="d]bo", creates=creates, alters=creates
        )
        self._answers = {
            "is_read_committed_snapshot_on": [SimpleNamespace(**{**GOOD, **database})],
            "OBJECT_ID(listed.value)": rights,
            "AS alters": [ddl],
        }

    def execute(self, statement, _parameters=None):
        [rows] = [rows for part, rows in self._answers.items() if part in str(statement)]
        return SimpleNamespace(one=lambda: rows[0], all=lambda: rows)

    def scalar(self, _statement):
        return "jobs]x"


def test_a_database_that_fits_is_taken():
    mssql_requirements.require(Server())
    mssql_requirements.require_ddl(Server())


@pytest.mark.parametrize(
    ("database", "message"),
    [
        (
            {"snapshots": False, "name": "jo]bs"},
            "ask the administrator of the database to execute: ALTER DATABASE [jo]]bs] SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE",
        ),
        (
            {"version": "13.0.7037.1"},
            "SQL Server 13.0.7037.1 is older than 2017 (14.0), the oldest that the scheduler works on; upgrade",
        ),
        ({"level": 120}, "ALTER DATABASE [jobs] SET COMPATIBILITY_LEVEL = 150"),
        ({"updateability": "READ_ONLY"}, "jobs is read-only here, as on a secondary replica"),
    ],
)
def test_a_database_that_does_not_fit_is_refused_with_the_statement(database, message):
    with pytest.raises(DatabaseUnfit) as caught:
        mssql_requirements.require(Server(**database))
    assert message in str(caught.value)
    assert caught.value.code == "TS616"


@pytest.mark.parametrize(
    "database",
    [
        {"version": "12.0.2000.8", "engine": 5, "level": 150},
        {"babelfish": "4.3.0", "version": "12.0.2000.8", "level": 120},
    ],
    ids=["azure", "babelfish"],
)
def test_a_version_counts_only_for_a_server_whose_version_says_what_it_can(database):
    mssql_requirements.require(Server(**database))


def test_the_missing_rights_of_a_table_are_granted_by_one_statement():
    tables = {"c_AlembicVersion": {"insert_": 0, "update_": 0, "delete_": 0}}
    mssql_requirements.require(Server(tables))  # processes only read the version
    tables["c_JobRun"] = {"insert_": 0, "update_": 0}
    with pytest.raises(RightsMissing) as caught:
        mssql_requirements.require(Server(tables))
    assert str(caught.value) == (
        "the user jobs]x lacks INSERT, UPDATE on c_JobRun; as the owner of the database:"
        " GRANT INSERT, UPDATE ON c_JobRun TO [jobs]]x]"
    )
    assert caught.value.code == "TS617"


def test_many_missing_rights_are_counted():
    tables = {f"c_T{n}": {"delete_": 0} for n in range(8)}
    with pytest.raises(RightsMissing, match=r"c_T4 TO .*\nand 3 more\n"):
        mssql_requirements.require(Server(tables))


def test_a_user_who_sees_no_table_may_create_tables_or_is_told_of_the_role():
    mssql_requirements.require(Server({}))
    with pytest.raises(RightsMissing) as caught:
        mssql_requirements.require(Server({}, creates=False))
    assert "ALTER ROLE targcc_runtime ADD MEMBER [jobs]]x]," in str(caught.value)


def test_an_upgrade_without_the_right_to_create_tables_is_refused():
    with pytest.raises(RightsMissing) as caught:
        mssql_requirements.require_ddl(Server(creates=False))
    assert "GRANT CREATE TABLE TO [jobs]]x]; GRANT ALTER, REFERENCES, " in str(caught.value)
    assert (
        " ON SCHEMA::[d]]bo] TO [jobs]]x], or ALTER ROLE targcc_migrate ADD MEMBER [jobs]]x]"
        in str(caught.value)
    )
    assert "targcc migrate --sql mssql" in str(caught.value)


@pytest.mark.parametrize("name", ["x]; DROP TABLE c_JobRun; --", "DOMAIN\\svc'", "]", "a b"])
def test_a_hostile_name_is_a_name_and_nothing_else(name):
    (statement,) = sqlglot.parse(f"SELECT 1 AS {mssql_script.bracketed(name)}", read="tsql")
    assert statement.selects[0].alias == name
    quoted = mssql_script.bracketed(name)
    assert mssql_script.grant("SELECT", "c_JobRun", name) == f"GRANT SELECT ON c_JobRun TO {quoted}"
    assert mssql_script.add_member("targcc_reader", name).endswith(f" ADD MEMBER {quoted}")


def test_a_server_that_confirms_before_it_has_written_is_named():
    _, lossy = mssql_requirements.durability(Server(durability="FORCED"))
    assert "ALTER DATABASE [jobs] SET DELAYED_DURABILITY = DISABLED" in str(lossy)
    name, lossy = mssql_requirements.durability(Server())
    assert (name, lossy) == ("SQL Server 16.0.4135.4, Standard Edition (64-bit)", None)


on_server = pytest.mark.sqlserver  # TARGCC_TEST_SQL_SERVER names a server


@on_server
def test_a_server_that_fits_is_taken(migrated_mssql_url):
    with sync_engine(migrated_mssql_url) as engine, engine.connect() as connection:
        mssql_requirements.require(connection)
        mssql_requirements.require_ddl(connection)


def missing(url):
    """Return the rights that a user lacks."""
    with sync_engine(url) as engine, engine.connect() as connection:
        return "; ".join(map(str, mssql_requirements.missing_rights(connection)))


@on_server
def test_a_user_with_the_role_alone_may_work(migrated_mssql_url):
    login, password = "targcc_test_runtime", "Str0ng-enough"
    url = sa.make_url(migrated_mssql_url)
    with sync_engine(url) as engine, engine.connect() as connection:
        connection.connection.driver_connection.autocommit = True
        run = connection.exec_driver_sql
        run(f"IF SUSER_ID('{login}') IS NULL CREATE LOGIN {login} WITH PASSWORD = '{password}'")
        run(f"IF USER_ID('{login}') IS NULL CREATE USER {login} FOR LOGIN {login}")
        own = url.set(username=login, password=password)
        assert "sees no table of the scheduler" in missing(own)
        for batch in roles_sql().split("\nGO\n"):
            if (
                batch.strip() and "CREATE TABLE" not in batch
            ):  # Babelfish grants no rights of a database
                run(batch)
        run(f"ALTER ROLE targcc_runtime ADD MEMBER {login}")
        assert missing(own) == ""
        run("REVOKE DELETE ON c_JobStep FROM targcc_runtime")
        assert missing(own).endswith(f"GRANT DELETE ON c_JobStep TO [{login}]")
