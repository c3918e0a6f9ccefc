"""The tests shown on the pages of ``docs/hosts`` pass in a process without anything from this repository."""

import pages
import psycopg
import pytest
import served
import sqlalchemy as sa

QUICK = ("fastapi.md",)
SOAK = ("starlette.md", "flask.md", "django.md", "scripts.md")


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    "page", [*QUICK, *(pytest.param(page, marks=pytest.mark.soak) for page in SOAK)]
)
def test_the_application_of_a_page_passes_its_own_tests(page, tmp_path):
    root = pages.write(page, tmp_path)
    output = served.run(
        root, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests"
    )
    assert " passed" in output
    assert not list(root.rglob("c_*"))


@pytest.mark.usefixtures("processes")
def test_manage_py_test_leaves_the_real_database_alone(tmp_path):
    """Also in parallel processes, each with its own database."""
    root = pages.write("django.md", tmp_path)
    served.run(root, "manage.py", "test", "--verbosity", "0", "--parallel", "2")
    assert not list(root.glob("*.db"))


ON_POSTGRESQL = """
from .settings import *

DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", **{where}}}}}
"""


def test_manage_py_test_makes_the_tables_in_a_test_database_on_postgresql(tmp_path, postgresql_url):
    root, url = pages.write("django.md", tmp_path), sa.make_url(postgresql_url)
    where = {"NAME": url.database, "USER": url.username, "PORT": url.port or ""}
    where["HOST"] = url.query.get("host", url.host)
    (root / "shop/pg.py").write_text(ON_POSTGRESQL.format(where=where), encoding="utf-8")
    served.run(root, "manage.py", "test", "--verbosity", "0", DJANGO_SETTINGS_MODULE="shop.pg")
    with psycopg.connect(postgresql_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert tables.fetchall() == []


JOINS = """
import os, psycopg
from shop.members import join
from shop.scheduler import migrate

migrate()
with psycopg.connect(os.environ["TARGCC_DATABASE_URL"], autocommit=True) as connection:
    connection.execute("CREATE TABLE members (name text UNIQUE)")
    join(connection, "Dana")
    try:
        join(connection, "Dana")
    except psycopg.errors.UniqueViolation:
        pass
    with connection.transaction(force_rollback=True):
        join(connection, "Noa")
    runs = connection.execute("SELECT JobName FROM c_JobRun")
    print(runs.fetchall(), connection.execute("SELECT * FROM members").fetchall())
"""


@pytest.mark.soak
def test_the_transaction_of_psycopg_on_the_page_of_scripts(tmp_path, postgresql_url):
    root = pages.write("scripts.md", tmp_path)
    output = served.run(root, "-c", JOINS, TARGCC_DATABASE_URL=postgresql_url)
    assert output == "[('SendWelcome',)] [('Dana',)]\n"


def test_every_page_is_tried():
    names = {page.name for page in pages.PAGES.glob("*.md")} - {"applications.md"}  # a list
    assert names == {*QUICK, *SOAK}
