"""An app's own Alembic leaves the scheduler's tables out: `patch` puts the option into env.py, `--undo` takes it out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import alembic
import black
import pytest
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.patch.alembic_edit import read_envs, with_option, without_option
from targcc_gen.patch.import_order import ImportOrder, read_order

TEMPLATES = Path(alembic.__file__).parent / "templates"
FLASK_MIGRATE = """import logging

from flask import current_app

from alembic import context

config = context.config


def run_migrations_online():
    conf_args = current_app.extensions['migrate'].configure_args
    with get_engine().connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=get_metadata(),
            **conf_args
        )
"""
OWN_RULE = """from alembic import context as ctx
from app.models import Base
from app.utils import wanted


def run(connection):
    ctx.configure(connection=connection, target_metadata=Base.metadata, include_name=wanted)
    ctx.configure(
        url="x",
        target_metadata=Base.metadata,  # of all models
        include_name=lambda name, kind, parents: name != "old",
    )
"""
FIRST_OF_OURS = """import alembic

# the models
from app.utils import metadata

alembic.context.configure(target_metadata=metadata)
"""
EXTENDS_THE_PATH = """import os
import sys

from alembic import context
from sqlalchemy import create_engine

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

# For autogenerate
from core.config import config
from core.db import Base


def run(connection):
    context.configure(connection=connection, target_metadata=Base.metadata, as_sql=1)


def run_in_a_thread():
    with create_engine("sqlite://").connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata)
        with context.begin_transaction():
            context.configure(connection=connection, target_metadata=Base.metadata)
"""
ENVS = {
    "generic": (TEMPLATES / "generic/env.py").read_text(encoding="utf-8"),
    "async": (TEMPLATES / "async/env.py").read_text(encoding="utf-8"),
    "Flask-Migrate": FLASK_MIGRATE,
    "a rule of its own": OWN_RULE,
    "an import that comes first": FIRST_OF_OURS,
    "a path that is extended first": EXTENDS_THE_PATH,
}


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ENVS)
def test_the_option_goes_in_and_out(name, ends):
    before = ENVS[name].replace("\n", ends).encode()

    after = with_option(before, "app.scheduler")

    assert after is not None
    compile(after, "env.py", "exec")
    assert after.count(b".configure(") == after.count(b"is_not_ours") - 1
    assert b"from app.scheduler import is_not_ours" + ends.encode() in after
    assert with_option(after, "app.scheduler") == after
    assert without_option(after) == before


def test_the_lines_are_written_as_people_write_them(tmp_path: Path):
    (tmp_path / "alembic").mkdir()  # to isort and ruff, alembic is then a package of the app
    order = ImportOrder(roots=(tmp_path,))

    after = with_option(ENVS["async"].encode(), "targcc_scheduler", order)

    assert after is not None
    text = after.decode()
    assert (
        "        target_metadata=target_metadata,\n        include_name=is_not_ours,\n        literal_binds=True,\n"
        in text
    )
    assert (
        "    context.configure(\n"
        "        connection=connection, target_metadata=target_metadata, include_name=is_not_ours\n"
        "    )\n" in text
    )
    assert (
        "import async_engine_from_config\nfrom targcc_scheduler import is_not_ours\n\nfrom alembic"
        in text
    )


def test_the_app_is_imported_below_the_line_that_makes_it_importable(tmp_path: Path):
    for name in ("app", "core"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    order = read_order(tmp_path, tmp_path, "app")

    after = with_option(EXTENDS_THE_PATH.encode(), "app.scheduler", order)

    assert after is not None
    text = after.decode()
    assert text.index("sys.path.insert") < text.index("from app.scheduler import is_not_ours")
    assert "\n\nfrom app.scheduler import is_not_ours\n\n# For autogenerate\nfrom core" in text
    assert without_option(after) == EXTENDS_THE_PATH.encode()
    assert black.format_str(EXTENDS_THE_PATH, mode=black.Mode()) == EXTENDS_THE_PATH
    assert black.format_str(text, mode=black.Mode()) == text


CALLS = {
    "a call that fits stays on its line": (
        "context.configure(connection=connection, target_metadata=metadata)",
        "context.configure(connection=connection, target_metadata=metadata, include_name=is_not_ours)",
        100,
    ),
    "a longer call is broken as black breaks it": (
        "context.configure(connection=connection, target_metadata=metadata)",
        "context.configure(\n        connection=connection, target_metadata=metadata, include_name=is_not_ours\n    )",
        88,
    ),
    "a longer one takes a line an argument": (
        "context.configure(connection=connection, target_metadata=metadata)",
        "context.configure(\n        connection=connection,\n        target_metadata=metadata,\n        include_name=is_not_ours,\n    )",
        80,
    ),
    "a call that is too long anyhow stays on its line": (
        "context.configure(connection=connection, target_metadata=metadata)",
        "context.configure(connection=connection, target_metadata=metadata, include_name=is_not_ours)",
        30,
    ),
    "a call that the app has broken for a comma gets the option first": (
        "context.configure(\n        connection=connection,\n        target_metadata=metadata,\n    )",
        "context.configure(\n        include_name=is_not_ours,\n        connection=connection,\n        target_metadata=metadata,\n    )",
        80,
    ),
    "a call that the app has broken stays so": (
        "context.configure(\n        connection=connection, target_metadata=metadata, **options,\n    )",
        "context.configure(\n        connection=connection, target_metadata=metadata, include_name=is_not_ours, **options,\n    )",
        88,
    ),
    "a call that the app has broken without need gets the option first": (
        "context.configure(\n        connection=connection, target_metadata=metadata\n    )",
        "context.configure(\n        include_name=is_not_ours, connection=connection, target_metadata=metadata\n    )",
        88,
    ),
    "arguments on a line of their own": (
        "context.configure(\n        connection=connection, target_metadata=metadata\n    )",
        "context.configure(\n        connection=connection,\n        target_metadata=metadata,\n        include_name=is_not_ours,\n    )",
        60,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_broken_where_it_gets_too_long(name):
    call, expected, length = CALLS[name]
    before = f"from alembic import context\n\n\ndef run(connection):\n    {call}\n".encode()

    after = with_option(before, "app.scheduler", None, length)

    assert after is not None
    assert after.decode().endswith(f"    {expected}\n")
    assert without_option(after, length) == before
    mode = black.Mode(line_length=length)
    if black.format_str(before.decode(), mode=mode) == before.decode():
        assert black.format_str(after.decode(), mode=mode) == after.decode()


def test_a_rule_of_the_app_is_asked_too():
    after = with_option(OWN_RULE.encode(), "app.scheduler")

    assert after is not None
    text = after.decode()
    assert "include_name=lambda *name: is_not_ours(*name) and wanted(*name))" in text
    assert (
        "from app.models import Base\nfrom app.scheduler import is_not_ours\nfrom app.utils" in text
    )
    calls = []
    text = text.replace("from app.scheduler", "from targcc_scheduler")
    text = text.replace("from alembic import context as ctx", "").replace(
        "from app.models import Base", ""
    )
    text = text.replace("from app.utils import wanted", "")

    class Context:
        @staticmethod
        def configure(**options):
            calls.append(options["include_name"])

    class Base:
        metadata = None

    names = {"ctx": Context, "Base": Base, "wanted": lambda name, _kind, _parents: name != "old"}
    exec(text, names)
    names["run"](None)  # type: ignore[operator]
    for rule in calls:
        assert rule("users", "table", {})
        assert not rule("old", "table", {})
        assert not rule("c_JobRun", "table", {})


@pytest.mark.parametrize(
    "text",
    [
        "from alembic import context\n\noptions = {}\ncontext.configure(**options)\n",
        "from alembic import context\n\noptions = {'include_name': 1}\ncontext.configure(url='x', **options)\n",
        "from alembic import context\n\ncontext.run_migrations()\n",
        "from alembic import context\n\ndef broken(:\n",
        "try:\n    from alembic import context\nexcept ImportError:\n    raise\ncontext.configure(url='x')\n",
    ],
)
def test_a_file_that_cannot_be_read_gets_two_lines_to_add(text, tmp_path: Path):
    (tmp_path / "alembic").mkdir()
    (tmp_path / "alembic/env.py").write_text(text, encoding="utf-8")

    [env] = read_envs(tmp_path, tmp_path, "shop")

    assert env.after is None
    assert env.by_hand == (
        "add to alembic/env.py: from targcc_scheduler import is_not_ours",
        "and to each call there: context.configure(…, include_name=is_not_ours)",
    )


MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"
MODELS = """from sqlalchemy import MetaData, Table, Column, Integer

metadata = MetaData()
Table("users", metadata, Column("id", Integer, primary_key=True))
"""
INI = "[alembic]\nscript_location = %(here)s/alembic\nprepend_sys_path = .\nsqlalchemy.url = {}\n"


def shop(root: Path, url: str) -> Path:
    """Create an app with Alembic, whose first revision is in the database."""
    env = ENVS["generic"].replace("    fileConfig(config.config_file_name)", "    pass")
    env = env.replace(
        "target_metadata = None", "from shop.models import metadata as target_metadata"
    )
    env = env.replace(
        "from sqlalchemy import pool\n", "from sqlalchemy import pool\n\nimport shop.models\n"
    )
    for path, text in {
        "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\n',
        "shop/__init__.py": "",
        "shop/main.py": MAIN,
        "shop/models.py": MODELS,
        "alembic.ini": INI.format(url.replace("%", "%%")),
        "alembic/env.py": env,
        "alembic/script.py.mako": (TEMPLATES / "generic/script.py.mako").read_text(
            encoding="utf-8"
        ),
        "alembic/versions/.keep": "",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def of_targcc(root: Path, *words: str) -> str:
    result = CliRunner().invoke(main, [*words, "--project", str(root)])
    assert result.exit_code == 0, result.output
    return result.output


def alembic_of(root: Path, *words: str) -> str:
    """Run the app's Alembic, and return its output."""
    command = [sys.executable, "-m", "alembic", *words]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def revision_of(root: Path, name: str) -> str:
    alembic_of(root, "revision", "--autogenerate", "-m", name)
    [file] = (root / "alembic/versions").glob(f"*_{name}.py")
    return file.read_text(encoding="utf-8")


@pytest.mark.usefixtures("processes")
def test_the_next_revision_of_the_app_drops_no_table_of_ours(migrated_url: str, tmp_path: Path):
    url = migrated_url.replace("postgresql://", "postgresql+psycopg://")
    root = shop(tmp_path, url)
    # without the option, this is the fault
    assert "op.drop_table('c_JobRun')".lower() in revision_of(root, "before").lower()
    for file in (root / "alembic/versions").glob("*.py"):
        file.unlink()

    output = of_targcc(root, "patch", "--no-verify")

    assert "update    alembic/env.py" in output
    text = revision_of(root, "after")
    assert "op.create_table('users'" in text
    assert "drop_table('c_" not in text.lower().split("def downgrade")[0]
    assert "procrastinate" not in text
    alembic_of(root, "upgrade", "head")


def test_undo_restores_env_py(tmp_path: Path):
    root = shop(tmp_path, "sqlite:///shop.db")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    of_targcc(root, "patch", "--no-verify")
    text = (root / "alembic/env.py").read_text(encoding="utf-8")
    assert "from shop.scheduler import is_not_ours\n" in text
    assert "has the scheduler already" in of_targcc(root, "patch", "--no-verify")

    of_targcc(root, "patch", "--undo")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_patched_app_that_gets_alembic_later_gets_the_option(tmp_path: Path):
    root = shop(tmp_path, "sqlite:///shop.db")
    env = root / "alembic/env.py"
    text = env.read_text(encoding="utf-8")
    env.unlink()
    of_targcc(root, "patch", "--no-verify")
    env.write_text(text, encoding="utf-8")
    what = "alembic/env.py leaves the scheduler's tables to autogenerate, which would drop them"
    assert what in CliRunner().invoke(main, ["doctor", "--project", str(root)]).output

    assert "update    alembic/env.py" in of_targcc(root, "patch", "--no-verify")

    assert "is_not_ours" in env.read_text(encoding="utf-8")
    assert what not in CliRunner().invoke(main, ["doctor", "--project", str(root)]).output


def test_the_plan_names_the_file_in_the_folder_of_migrations(tmp_path: Path):
    files = {
        "requirements.txt": "fastapi\n",
        "shop/__init__.py": "",
        "shop/main.py": "from fastapi import FastAPI\n\napp = FastAPI()\n",
        "migrations/env.py": ENVS["generic"],
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")

    result = CliRunner().invoke(main, ["patch", "--dry-run", "--project", str(tmp_path)])

    assert result.exit_code == 0, result.output
    assert "update    migrations/env.py " in result.output


def test_migrations_of_the_app_in_its_package_do_not_keep_the_scheduler(tmp_path: Path):
    files = {
        "requirements.txt": "fastapi\n",
        "shop/__init__.py": "",
        "shop/main.py": MAIN,
        "shop/migrations/env.py": ENVS["generic"],
        "shop/migrations/README": "Generic single-database configuration.\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    of_targcc(tmp_path, "patch", "--no-verify")
    assert "is_not_ours" in (tmp_path / "shop/migrations/env.py").read_text(encoding="utf-8")

    of_targcc(tmp_path, "patch", "--undo")

    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == set(files)
    assert (tmp_path / "shop/migrations/env.py").read_text(encoding="utf-8") == ENVS["generic"]
