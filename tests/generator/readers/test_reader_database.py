"""Export from a live database: real SQLite and PostgreSQL, the fake SQL Server, and servers that stop responding."""

import builtins
import contextlib
import socket
import sqlite3
import threading
import time
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from targcc_gen.errors import InputError
from targcc_gen.readers.database import Wanted, is_address, parse_address, read_database, read_only
from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job.tables import PROCEDURE, TABLES
from tds_double import Slow, tds_double

BUSY = 4
"""Seconds that suffice for a sign-in on a busy machine."""
WANTED = Wanted(TABLES, ZoneInfo("Asia/Jerusalem"), procedures=PROCEDURE)
SCRIPT = """
CREATE TABLE c_Job (ID INT PRIMARY KEY, JobName VARCHAR(100), CronExpression VARCHAR(50), StoredProcName VARCHAR(100),
  IsActive {bit}, LastRun TIMESTAMP);
INSERT INTO c_Job VALUES (2, 'Second', '0 3 * * *', 'SP_Two', {no}, NULL);
INSERT INTO c_Job VALUES (1, 'First', '0 2 * * *', 'SP_One', {yes}, '2026-11-24 02:00:00.5');
CREATE TABLE c_LoggedJob (ID INT PRIMARY KEY, c_JobID INT, WhenStarted TIMESTAMP);
INSERT INTO c_LoggedJob VALUES (1, 1, '2026-11-24 02:00:00');
CREATE TABLE c_SystemDefault (ID INT, Code VARCHAR(50), Value VARCHAR(50));
INSERT INTO c_SystemDefault VALUES (1, 'Config_ProblemMailTo', 'ops@example.com');
CREATE TABLE Orders (ID INT);
"""
SQLITE = SCRIPT.format(bit="BIT", no=0, yes=1)
POSTGRESQL = SCRIPT.format(bit="BOOLEAN", no="false", yes="true") + (
    "CREATE PROCEDURE SP_One() LANGUAGE sql AS $$ SELECT 1 $$;"
)


def read(url, *, seconds=60.0, wanted=WANTED, progress=None):
    items = []
    files = read_database(url, wanted, items.append, seconds=seconds, progress=progress)
    rows = [item for item in items if isinstance(item, Row)]
    return files, rows, [item for item in items if not isinstance(item, Row)]


@pytest.fixture
def sqlite_url(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.executescript(SQLITE)
    return f"sqlite:///{tmp_path / 'old.db'}"


def engine_of(url):
    return sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool
    )


@pytest.fixture
def pg_url(postgresql_url):
    with engine_of(postgresql_url).begin() as connection:
        connection.exec_driver_sql(POSTGRESQL)
    return postgresql_url


@pytest.fixture(params=["sqlite", "pg"])
def url(request):
    return request.getfixturevalue(f"{request.param}_url")


@pytest.mark.usefixtures("processes")
def test_each_table_is_a_file_and_each_row_says_its_id(url):
    files, rows, remarks = read(url)

    counts = {table: count for file in files for table, count in file.counts.items()}
    known = {name: count for name, count in counts.items() if name != PROCEDURE}
    assert known == {"c_job": 2, "c_loggedjob": 1, "c_systemdefault": 1}
    first, second = [row for row in rows if row.table == "c_job"]
    assert (first.line, first.values["jobname"], second.line) == (1, "First", 2)
    assert int(first.values["isactive"]) == 1
    assert str(first.values["lastrun"]).startswith("2026-11-24 02:00:00.5")
    assert first.place.endswith("c_Job:1") or first.place.endswith("c_job:1")
    assert not remarks


def test_the_names_and_texts_of_procedures_come_along(pg_url):
    _, rows, _ = read(pg_url)

    (procedure,) = [row for row in rows if row.table == PROCEDURE]
    assert procedure.values["name"] == "sp_one"
    assert "SELECT 1" in procedure.values["definition"]


def test_an_instant_with_a_zone_is_told_by_the_old_servers_clock(pg_url):
    with engine_of(pg_url).begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE c_Job ALTER LastRun TYPE TIMESTAMPTZ USING '2026-07-01 00:00:00+00'"
        )
    _, rows, _ = read(pg_url)

    assert rows[0].values["lastrun"] == datetime(2026, 7, 1, 3, 0)  # noqa: DTZ001 - wall time


def test_rows_that_arrive_move_the_bar(sqlite_url):
    seen = []
    read(sqlite_url, progress=lambda done, total: seen.append((done, total)))

    assert seen == [(2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_on_sqlite_the_old_server_writes_on_and_one_instant_is_read(sqlite_url, journal):
    path = sqlite_url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as old:
        old.execute(f"PRAGMA journal_mode = {journal}")
        with read_only(parse_address(sqlite_url), 5) as session:
            count = session.connection.exec_driver_sql("SELECT COUNT(*) FROM c_LoggedJob")
            assert count.scalar() == 1
            old.execute("UPDATE c_Job SET LastRun = '2026-11-25'")
            (last,) = session.connection.exec_driver_sql("SELECT DISTINCT LastRun FROM c_Job WHERE ID = 1").one()  # fmt: skip
            assert last == "2026-11-24 02:00:00.5"
            with pytest.raises(sa.exc.OperationalError, match="readonly"):
                session.connection.exec_driver_sql("DELETE FROM c_Job")


def test_on_postgresql_the_old_server_writes_on_and_one_instant_is_read(pg_url):
    old = engine_of(pg_url)
    with read_only(parse_address(pg_url), 5) as session:
        assert session.connection.exec_driver_sql("SELECT COUNT(*) FROM c_LoggedJob").scalar() == 1
        with old.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = 100")
            connection.exec_driver_sql("UPDATE c_Job SET LastRun = '2026-11-25'")
        query = "SELECT COUNT(*) FROM c_Job WHERE LastRun = '2026-11-25'"
        assert session.connection.exec_driver_sql(query).scalar() == 0
        with pytest.raises(sa.exc.DBAPIError, match="read-only transaction"):
            session.connection.exec_driver_sql("DELETE FROM c_Job")


def test_a_table_that_somebody_has_locked_ends_with_a_sentence(pg_url, monkeypatch):
    monkeypatch.setattr("targcc_gen.readers.database._LOCK_SECONDS", 0.1)
    with engine_of(pg_url).begin() as connection:
        connection.exec_driver_sql("LOCK TABLE c_Job IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(InputError, match="lock timeout"):
            read(pg_url)


def test_a_schema_can_be_chosen(pg_url):
    with engine_of(pg_url).begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA old")
        connection.exec_driver_sql("CREATE TABLE old.c_Job AS SELECT * FROM c_Job WHERE ID = 1")
    _, rows, remarks = read(pg_url)
    assert len([row for row in rows if row.table == "c_job"]) == 2
    assert "--schema chooses" in remarks[0].text

    chosen = Wanted(TABLES, WANTED.zone, "old")
    assert len(read(pg_url, wanted=chosen)[1]) == 1


def test_the_new_schedulers_own_history_is_not_taken_for_the_old_ones(sqlite_url, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.execute("ALTER TABLE c_LoggedJob ADD ScheduledFor TEXT")
    _, rows, remarks = read(sqlite_url)

    assert "c_loggedjob" not in {row.table for row in rows}
    assert "another program's table" in remarks[0].text


# --- SQL Server, by a fake server --------------------------------------------------------------------------------------


@pytest.fixture
def double():
    with tds_double() as made:
        made.answers = {
            "sys.databases": [{"snapshot": 1, "versions": 0}],
            "INFORMATION_SCHEMA.TABLES": [
                {"s": "dbo", "t": "c_Job"},
                {"s": "dbo", "t": "Orders"},
            ],
            "sys.procedures": [{"s": "dbo", "n": "mnTM_Load", "d": "CREATE PROC mnTM_Load …"}],
        }
        made.add(
            "c_Job",
            [{"ID": 7, "lkpJob": "mnTM_Load", "lkpJobRunner": "SRV", "enmJobType": "Daily"}],
        )
        yield made


TRANSACTION = {"BEGIN TRANSACTION", "COMMIT", "ROLLBACK"}


def levels(double):
    return [statement for statement in double.seen if "ISOLATION LEVEL" in statement]


def test_sql_server_is_read_in_a_snapshot(double):
    files, rows, remarks = read(double.url())

    assert [(row.table, row.line) for row in rows] == [("c_job", 7), (PROCEDURE, 1)]
    assert rows[1].values["definition"] == "CREATE PROC mnTM_Load …"
    assert files[0].kind == "SQL Server"
    assert levels(double)[0] == "SET TRANSACTION ISOLATION LEVEL SNAPSHOT"
    assert "SET LOCK_TIMEOUT 5000" in double.seen
    assert not remarks
    changing = ("INSERT", "UPDATE", "DELETE", "MERGE", "EXEC")
    assert not [statement for statement in double.seen if statement.upper().startswith(changing)]


def test_the_isolation_level_is_set_before_the_transaction_begins(double):
    read(double.url())

    level = double.seen.index("SET TRANSACTION ISOLATION LEVEL SNAPSHOT")
    bounds = [text for text in double.seen[:level] if text in TRANSACTION]
    assert bounds[-1] != "BEGIN TRANSACTION"
    assert "BEGIN TRANSACTION" in double.seen[level:]
    assert double.seen[-1] == "ROLLBACK"


@pytest.mark.parametrize(("versions", "level"), [(1, "READ COMMITTED"), (0, "READ UNCOMMITTED")])
def test_without_snapshots_no_lock_is_taken_and_the_jobs_are_read_twice(double, versions, level):
    double.answers["sys.databases"] = [{"snapshot": 0, "versions": versions}]
    _, _, remarks = read(double.url())

    assert levels(double)[0] == f"SET TRANSACTION ISOLATION LEVEL {level}"
    assert not remarks


def test_a_row_that_changes_in_between_is_said(double):
    answers = iter(["0 2 * * *", "0 2 * * *", "0 3 * * *"])
    double.answers["sys.databases"] = [{"snapshot": 0, "versions": 0}]
    double.answers["FROM [dbo].[c_Job] ORDER"] = lambda _: [{"ID": 7, "cron": next(answers)}]
    double.answers["FROM [dbo].[c_Job] WHERE"] = lambda _: [{"ID": 7, "cron": ""}]
    next(answers)
    _, _, remarks = read(double.url())

    assert "somebody changed it while it was read" in remarks[0].text


def test_a_statement_that_takes_too_long_is_stopped_on_sql_server(double):
    double.answers = {"FROM [dbo].[c_Job]": Slow(), **double.answers}
    with pytest.raises(InputError, match="timeout expired"):
        read(double.url(), seconds=BUSY)

    assert double.stopped


def test_a_wrong_password_is_not_shown(double):
    with pytest.raises(InputError, match="Login failed for user") as caught:
        read(double.url(password="not-{the}-one;x"))

    assert "not-" not in f"{caught.value.message} {caught.value.hint}"


# --- Servers that stop responding -------------------------------------------------------------------------------------


@contextlib.contextmanager
def silent_server(beyond=None, after=0):
    """Yield a port that accepts connections; only the first ``after`` bytes of a real server behind it arrive."""
    held = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                held.append(client)
                if beyond is not None:
                    server = beyond()
                    held.append(server)
                    threading.Thread(target=pass_on, args=(client, server), daemon=True).start()
                    threading.Thread(
                        target=pass_on, args=(server, client, after), daemon=True
                    ).start()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        for sock in [listener, *held]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def pass_on(source, target, most=None):
    passed = 0
    with contextlib.suppress(OSError):
        while data := source.recv(512):
            passed += len(data)
            if most is None or passed <= most:
                target.sendall(data)


@pytest.mark.parametrize("kind", ["postgresql", "mssql"])
def test_a_server_that_takes_the_connection_and_says_nothing_ends_with_a_sentence(kind):
    with silent_server() as port:
        started = time.monotonic()
        with pytest.raises(InputError) as caught:
            read(f"{kind}://dana:geheim@127.0.0.1:{port}/acme", seconds=1)

    assert time.monotonic() - started < 20
    assert f"{kind}://127.0.0.1:{port}/acme" in caught.value.message
    assert caught.value.hint.endswith("Nothing was written.")
    assert "geheim" not in caught.value.message


def test_a_server_that_falls_silent_in_the_middle_ends_with_a_sentence(double):
    double.catalog.sources.clear()
    double.add("c_Job", [{"ID": n, "lkpJob": "x" * 200} for n in range(1, 3000)])
    beyond = partial(socket.create_connection, ("127.0.0.1", double.port))
    with silent_server(beyond, 100_000) as port:
        url = double.url().replace(str(double.port), str(port))
        with pytest.raises(InputError, match=r"does not answer: nothing came for 4 s, in dbo\.c_Job|timeout expired"):  # fmt: skip
            read(url, seconds=BUSY)


def test_postgresql_that_falls_silent_in_the_middle_ends_with_a_sentence(pg_url):
    with engine_of(pg_url).begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO c_LoggedJob SELECT n, 1, now() FROM generate_series(2, 20000) AS n"
        )
    address = sa.make_url(pg_url)

    def beyond():
        if not (folder := address.query.get("host")):
            return socket.create_connection((address.host, address.port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{folder}/.s.PGSQL.{address.query.get('port', 5432)}")
        return server

    with silent_server(beyond, 100_000) as port:
        url = f"postgresql://{address.username}@127.0.0.1:{port}/{address.database}"
        with pytest.raises(InputError, match=r"nothing came for 4 s, in public\.c_loggedjob"):
            read(url, seconds=BUSY)


# --- Addresses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mysql://dana:geheim@srv/acme", "reads no mysql database"),
        ("mssql://dana:geheim@srv", "names no database"),
        ("postgresql:///acme", "names no server"),
        ("sqlite://", "names no file"),
        ("mssql:/dana:geheim@srv/acme", "no address of a mssql database"),
        ("postgresql://dana:geheim@srv:port/acme", "no address of a postgresql database"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(text, reason):
    assert is_address(text)
    with pytest.raises(InputError, match=reason) as caught:
        parse_address(text)
    assert "geheim" not in f"{caught.value.message} {caught.value.hint}"


def test_an_address_names_its_product():
    addresses = ("mssql://srv/acme", "postgresql://srv/acme", "sqlite:///acme.db")
    products = [parse_address(address).product for address in addresses]
    assert products == ["SQL Server", "PostgreSQL", "SQLite"]


def test_names_of_files_are_no_addresses():
    assert not any(map(is_address, ["c_Job.sql", "C:/dump/c_Job.sql", r"C:\dump", "/dump/x"]))


def test_the_password_may_be_in_the_environment_and_is_in_no_text(monkeypatch):
    monkeypatch.setenv("TARGCC_LEGACY_PASSWORD", "p@ss/w}rd")
    address = parse_address("mssql://dana@srv/acme")

    assert address.url.password == "p@ss/w}rd"
    assert address.label == "mssql://srv/acme"
    assert "p@ss" not in repr(address)
    driver = "Server=srv;PWD={p@ss/w}}rd}; p@ss/w}rd p%40ss%2Fw%7Drd"
    assert address.redacted(driver) == "Server=srv;PWD=***; *** ***"


def test_a_driver_that_is_not_installed_is_named_with_how_to_get_it(monkeypatch):
    real = builtins.__import__
    monkeypatch.setattr(
        "importlib.import_module",
        lambda name: (
            (_ for _ in ()).throw(ModuleNotFoundError(name=name))
            if name == "psycopg"
            else real(name)
        ),
    )
    with pytest.raises(InputError, match="the package psycopg is needed") as caught:
        parse_address("postgresql://srv/acme")

    assert "targcc-gen[databases]" in caught.value.hint


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read(f"sqlite:///{tmp_path / 'none.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_the_table_says_so(tmp_path):
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(InputError, match="has no table c_Job"):
        read(f"sqlite:///{tmp_path / 'empty.db'}")
