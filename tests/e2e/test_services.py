"""Services that jobs may request, on real databases: SQLite and PostgreSQL."""

from shutil import copy

import pytest
from rendered_projects import DATA, run
from targcc_gen.demo import DemoProject

pytestmark = pytest.mark.e2e


def test_the_services_keep_their_word(project: DemoProject, postgresql_url: str):
    copy(DATA / "project_tests" / "test_services.py", project.root / "tests" / "test_services.py")

    done = run(
        project, "pytest", "-q", "tests/test_services.py", TEST_POSTGRESQL_URL=postgresql_url
    )

    assert done.returncode == 0, done.stdout + done.stderr
