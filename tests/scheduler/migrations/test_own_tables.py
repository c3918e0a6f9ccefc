"""Tables of a project's own jobs: what the job guide says, word for word, on projects as they are made and as release 0.1 left them."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import processes
import pytest
import targcc_scheduler
from migration_rig import execute, kept, make_0_1, revisions, rows, tables
from targcc_scheduler.db.migrations.upgrade import head_revision

GUIDE = Path(targcc_scheduler.__file__).parent / "docs" / "JOB_DEVELOPMENT_GUIDE.md"
_SPEC = """targcc: 1
scheduler: package
project: {name: acme-jobs, package: acme_jobs}
"""
_GENERATE = "from targcc_gen.cli import main; main()"
_TARGCC = "from acme_jobs.scheduler import main; main()"
_MINE = '''"""orders

Revision: a1b2c3, after 0001.
"""
import sqlalchemy as sa
from alembic import op

revision = "a1b2c3"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("what", sa.String(50), nullable=False),
    )


def downgrade():
    op.drop_table("orders")
'''


pytestmark = pytest.mark.soak  # each case installs nothing, but starts a dozen commands


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """A project as ``targcc-gen new`` makes it."""
    folder = tmp_path_factory.mktemp("rendered")
    (folder / "spec.yaml").write_text(_SPEC, encoding="utf-8")
    command = [sys.executable, "-c", _GENERATE, "new", "acme-jobs", "--spec", "spec.yaml"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "acme-jobs"


class Project:
    """The project, and what its guide says."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self._url = url
        self.guide = GUIDE.read_text(encoding="utf-8")
        self.section = self.guide.partition("\n## Tables of your own\n")[2].partition("\n## ")[0]

    def write(self, path: str) -> None:
        """Put a file that the section shows where it says."""
        (source,) = re.findall(
            rf"^```python\n# {path}\n(.*?)^```", self.section, re.MULTILINE | re.DOTALL
        )
        (self.root / path).write_text(source, encoding="utf-8")

    def console(self, number: int) -> None:
        """Type what the section's console shows."""
        blocks = re.findall(r"^```console\n(.*?)^```", self.section, re.MULTILINE | re.DOTALL)
        for line in blocks[number].splitlines():
            self.run(*shlex.split(line.removeprefix("$ ")))

    def run(self, *words: str) -> str:
        """One command; what it printed."""
        installed = {
            ("uv", "run", "alembic"): [sys.executable, "-m", "alembic"],
            ("uv", "run", "targcc"): [sys.executable, "-c", _TARGCC],
        }
        command = installed.get(words[:3], [])
        command = [*command, *words[3:]] if command else list(words)
        environment = processes.environment(
            PYTHONPATH=str(self.root / "src"), TARGCC_DATABASE_URL=self._url
        )
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def revision(self) -> str:
        """What the only revision of its own does."""
        (file,) = (self.root / "alembic" / "versions").glob("*.py")
        return file.read_text(encoding="utf-8").partition("def upgrade()")[2]


@pytest.fixture
def project(rendered, url, tmp_path) -> Project:
    shutil.copytree(rendered, tmp_path / "acme-jobs")
    return Project(tmp_path / "acme-jobs", url)


@pytest.mark.parametrize(
    ("url", "first"), [("sqlite", "targcc"), ("postgresql", "alembic")], indirect=["url"]
)
def test_the_guide_s_commands_make_a_table_beside_ours(project, url, first):
    if first == "targcc":
        project.run("uv", "run", "targcc", "migrate")
    project.write("src/acme_jobs/tables.py")
    project.console(0)
    project.write("alembic/env.py")
    project.console(1)
    project.run("uv", "run", "targcc", "migrate")
    assert set(re.findall(r"op\.(\w+)\(\W*(\w+)", project.revision())) == {
        ("create_table", "orders"),
        ("drop_table", "orders"),
    }
    assert {"orders", "c_jobrun"} <= tables(url)
    assert revisions(url) == [head_revision()]
    assert len(revisions(url, "alembic_version")) == 1
    assert len(project.run("uv", "run", "alembic", "heads").splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "applied"), [("sqlite", False), ("postgresql", True)], indirect=["url"]
)
def test_a_revision_beside_ours_of_0_1_goes_on_by_itself(project, url, applied):
    before = make_0_1(url)
    if applied:
        execute(url, "UPDATE alembic_version SET version_num = 'a1b2c3'")
        execute(
            url, "CREATE TABLE orders (id INTEGER NOT NULL PRIMARY KEY, what VARCHAR(50) NOT NULL)"
        )
        execute(url, "INSERT INTO orders VALUES (1, 'tea')")
    versions = project.root / "migrations" / "versions"
    versions.mkdir(parents=True)
    revision = versions / "a1b2c3_orders.py"
    revision.write_text(_MINE, encoding="utf-8")
    project.console(2)
    revision = project.root / "alembic" / "versions" / revision.name
    text = revision.read_text(encoding="utf-8")
    old, new = re.search(r"write `(.*?)` instead of `(.*?)`", project.section).groups()[::-1]
    assert old in text
    revision.write_text(text.replace(old, new), encoding="utf-8")
    project.write("src/acme_jobs/tables.py")
    project.write("alembic/env.py")
    project.console(3)
    assert revisions(url) == [head_revision()]
    assert revisions(url, "alembic_version") == ["a1b2c3"]
    assert kept(before, rows(url))
    project.run("uv", "run", "alembic", "check")
