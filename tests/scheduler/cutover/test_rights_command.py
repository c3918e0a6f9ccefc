"""``targcc cutover rights``: a line for each job with a procedure, and exit status 1 when one may not run."""

import json

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from targcc_scheduler.cli.main import main


@pytest.fixture
def rights(migrated_sqlite_url, monkeypatch, tmp_path):
    """Return a function that runs the command with the database of the jobs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TARGCC_DATABASE_URL", migrated_sqlite_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", "procedure_jobs")

    def run(url, *options):
        monkeypatch.setenv("APP_DATABASE_URL", url)
        return CliRunner().invoke(main, ["cutover", "rights", *options], prog_name="targcc")

    return run


def test_a_job_whose_procedure_the_login_may_run_is_a_yes(rights, postgresql_url):
    engine = sa.create_engine(postgresql_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE PROCEDURE usp_close() LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it ran'; END $$"
        )
    engine.dispose()
    done = rights(postgresql_url)

    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[1].split()[:3] == ["CloseMonth", "yes", "usp_Close"]
    assert "0 jobs without a procedure." in done.output


def test_a_missing_procedure_makes_the_status_1(rights, postgresql_url):
    done = rights(postgresql_url, "--json")

    assert done.exit_code == 1, done.output
    (line,) = json.loads(done.output)
    assert (line["job"], line["right"]["may"]) == ("CloseMonth", False)


def test_a_database_that_does_not_answer_is_one_sentence(rights):
    done = rights("postgresql://me:geheim@127.0.0.1:1/acme")

    assert done.exit_code == 2
    assert "the jobs' database cannot be used" in done.output
    assert "geheim" not in done.output
