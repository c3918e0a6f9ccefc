"""An app on PostgreSQL gets a scheduler on PostgreSQL: the spec, the extra, and the place of the requirement."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.dependencies.declare import Texts, requirement_files
from targcc_gen.dependencies.required import read_required
from targcc_gen.patch.host_database import HostDatabase, host_database

MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"
PROJECT = '[project]\nname = "shop"\nversion = "1"\ndependencies = [\n  "fastapi",\n  {}\n]\n'
INI = "[alembic]\nscript_location = migrations\nsqlalchemy.url = {}\n"


def written(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def shop(root: Path, files: dict[str, str]) -> Path:
    return written(root, {"shop/__init__.py": "", "shop/main.py": MAIN, **files})


def run(*words: str, root: Path | None = None) -> str:
    place = ("--project", str(root)) if root else ()
    result = CliRunner().invoke(main, [*words, *place])
    assert result.exit_code == 0, result.output
    return result.output


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def evidence(root: Path) -> HostDatabase:
    return host_database(root, read_required(Texts(root), requirement_files(root)))


ON_POSTGRESQL = {
    "a driver": {"pyproject.toml": PROJECT.format('"asyncpg>=0.29",')},
    "a driver by an extra": {"requirements.txt": "fastapi\nsqlalchemy[postgresql-psycopg]\n"},
    "a driver of Poetry": {
        "pyproject.toml": '[tool.poetry.dependencies]\nfastapi = "*"\npsycopg = {version = "^3.1", extras = ["binary"]}\n'
    },
    "an optional driver and a URL": {
        "pyproject.toml": '[project]\nname = "shop"\ndependencies = ["fastapi"]\n[project.optional-dependencies]\npg = ["psycopg2-binary"]\n',
        ".env.example": "DATABASE_URL=postgresql://localhost/shop\n",
    },
    "settings and Alembic": {
        "setup.py": "setup(install_requires=['asyncpg'])\n",
        "shop/config.py": "from pydantic import PostgresDsn\n",
        "alembic.ini": INI.format("postgresql+asyncpg://localhost/shop"),
    },
    "Django's settings and a compose file": {
        "shop/settings.py": "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql'}}\n",
        "compose.yaml": "services:\n  web:\n    environment:\n      - DATABASE_URL=postgres://db/shop\n",
    },
}


@pytest.mark.parametrize("name", ON_POSTGRESQL)
def test_postgresql_is_seen(name, tmp_path: Path):
    assert evidence(shop(tmp_path, ON_POSTGRESQL[name])).is_postgresql


ELSEWHERE = {
    "nothing": {"requirements.txt": "fastapi\n"},
    "only a look at the scheme": {
        "requirements.txt": "fastapi\n",
        "shop/db.py": "url = url.replace('postgres://', 'postgresql://')\n",
    },
    "an optional driver": {
        "pyproject.toml": '[project]\nname = "shop"\ndependencies = ["fastapi"]\n[project.optional-dependencies]\npg = ["asyncpg"]\n'
    },
    "a driver, and Alembic on SQLite": {
        "requirements.txt": "fastapi\nasyncpg\n",
        "alembic.ini": INI.format("sqlite:///shop.db"),
    },
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_another_database_is_left_alone(name, tmp_path: Path):
    assert not evidence(shop(tmp_path, ELSEWHERE[name])).is_postgresql


def test_the_variable_with_the_url_is_named(tmp_path: Path):
    root = shop(
        tmp_path,
        {
            "pyproject.toml": PROJECT.format('"asyncpg",'),
            ".env.example": "# ours\nexport SHOP_DB_URL='postgresql+asyncpg://localhost/shop'\n",
        },
    )

    output = run("patch", "--no-verify", root=root)

    assert (
        "note      the app is on PostgreSQL (pyproject.toml: asyncpg; .env.example: SHOP_DB_URL)"
        in output
    )
    assert "--database sqlite gives the scheduler a file" in output
    assert "Next      set TARGCC_DATABASE_URL to the value of SHOP_DB_URL: postgresql://" in output
    assert "Next      python -m targcc_scheduler --project shop migrate" in output
    assert "database: postgresql" in (root / "targcc.yaml").read_text(encoding="utf-8")
    assert "postgresql://localhost/shop" in (root / "shop/scheduler.py").read_text(encoding="utf-8")
    assert "[guest,postgresql]==" in (root / "pyproject.toml").read_text(encoding="utf-8")


def test_the_user_decides(tmp_path: Path):
    root = shop(tmp_path / "a", {"pyproject.toml": PROJECT.format('"asyncpg",')})
    run("patch", "--no-verify", "--database", "sqlite", root=root)
    assert "database: postgresql" not in (root / "targcc.yaml").read_text(encoding="utf-8")
    refused = CliRunner().invoke(
        main, ["patch", "--database", "postgresql", "--project", str(root)]
    )
    assert (refused.exit_code, "targcc.yaml says database: sqlite" in refused.output) == (2, True)

    root = shop(tmp_path / "b", {"requirements.txt": "fastapi\n"})
    run("patch", "--no-verify", "--database", "postgresql", root=root)
    assert ".whl[guest,postgresql]" in (root / "requirements.txt").read_text(encoding="utf-8")


WORKSPACE = {
    "pyproject.toml": '[tool.uv.workspace]\nmembers = ["backend", "libs/*"]\n',
    "uv.lock": "",
    "backend/pyproject.toml": '[project]\nname = "app"\nversion = "1"\ndependencies = ["fastapi", "psycopg[binary]"]\n',
    "backend/app/__init__.py": "",
    "backend/app/main.py": MAIN,
}


@pytest.mark.parametrize("inside", [".", "backend"])
def test_a_member_of_a_workspace_of_uv_gets_the_requirement(
    inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = written(tmp_path, WORKSPACE)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    monkeypatch.chdir(root / inside)

    output = run("patch", "--no-verify")

    assert "Next      uv sync --package app\n" in output
    text = (root / "backend/pyproject.toml").read_text(encoding="utf-8")
    assert '"fastapi", "targcc-scheduler[guest,postgresql]==' in text
    assert 'targcc-scheduler = { path = "vendor/targcc_scheduler-' in text
    assert [path.parent.name for path in root.rglob("targcc_scheduler-*.whl")] == ["vendor"]
    assert (root / "backend/targcc.yaml").is_file()
    assert (root / "pyproject.toml").read_text(encoding="utf-8") == WORKSPACE["pyproject.toml"]

    run("patch", "--undo")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_project_below_the_repository_gets_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As `backend` beside `frontend`, with requirements and a Dockerfile of its own."""
    root = written(
        tmp_path,
        {
            ".git/HEAD": "",
            "backend/requirements.txt": "fastapi\n",
            "backend/app/__init__.py": "",
            "backend/app/main.py": MAIN,
        },
    )
    monkeypatch.chdir(root)

    output = run("patch", "--no-verify")

    assert (root / "backend/targcc.yaml").is_file()
    assert "./vendor/" in (root / "backend/requirements.txt").read_text(encoding="utf-8")
    assert "note      the app's project is backend: run targcc-gen there" in output
    assert not (root / "targcc.yaml").exists()


ON_ASYNCPG = """import os
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"])
app = FastAPI()
"""
ROUTES = """
from shop.jobs.heartbeat import HeartbeatJob
from shop.scheduler import Scheduler, get_scheduler


@app.post("/users")
async def sign_up(jobs: Annotated[Scheduler, Depends(get_scheduler)]) -> str:
    async with AsyncSession(engine) as session:
        await session.execute(text("CREATE TABLE users (name text)"))
        run = await jobs.enqueue(HeartbeatJob, session=session)
        await session.commit()
    return str(await jobs.wait(run, timeout=60))
"""
ASK = """from fastapi.testclient import TestClient
from shop.main import app

with TestClient(app) as client:
    print(client.post("/users").json())
"""


@pytest.mark.usefixtures("processes")
def test_an_app_on_postgresql_enqueues_in_its_transaction(tmp_path: Path, postgresql_url: str):
    files = {
        "pyproject.toml": PROJECT.format('"asyncpg",'),
        ".env.example": "DATABASE_URL=postgresql+asyncpg://localhost/shop\n",
        "shop/main.py": ON_ASYNCPG,
    }
    root = shop(tmp_path, files)
    assert "to the value of DATABASE_URL" in run("patch", "--no-verify", root=root)
    with (root / "shop/main.py").open("a", encoding="utf-8") as file:
        file.write(ROUTES)
    url = postgresql_url.replace("postgresql://", "postgresql+asyncpg://")
    # the same value, as the command says
    settings = {"DATABASE_URL": url, "TARGCC_DATABASE_URL": url, "TARGCC_MODE": "embedded"}

    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=root,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "succeeded\n", done.stdout + done.stderr


REQUIREMENTS = {
    "pyproject.toml": PROJECT.format(""),
    "poetry": '[tool.poetry]\nname = "shop"\n\n[tool.poetry.dependencies]\nfastapi = "*"\n',
    "pdm": PROJECT.format("") + "\n[tool.pdm]\n",
    "requirements.txt": "fastapi\n",
}


@pytest.mark.parametrize("tool", REQUIREMENTS)
def test_regenerate_changes_the_extra_with_the_database(tool, tmp_path: Path):
    path = tool if "." in tool else "pyproject.toml"
    root = shop(tmp_path, {path: REQUIREMENTS[tool]})
    run("patch", "--no-verify", root=root)
    before = (root / path).read_text(encoding="utf-8")
    assert "postgresql" not in before
    # an extra that people added
    change(
        root / path,
        '["guest"]' if tool == "poetry" else "[guest]",
        '["guest", "otel"]' if tool == "poetry" else "[guest,otel]",
    )
    spec = root / "targcc.yaml"
    change(spec, "database: sqlite", "database: postgresql")

    output = run("regenerate", root=root)

    text = (root / path).read_text(encoding="utf-8")
    assert text.replace('", "', ",").count("guest,postgresql,otel") == 1, text
    assert "Next: " in output
    assert "or other extras" in output
    assert "Nothing to do" in run("regenerate", root=root)

    change(spec, "database: postgresql", "database: sqlite")
    run("regenerate", root=root)
    text = (root / path).read_text(encoding="utf-8")
    assert text.replace('", "', ",").count("guest,otel") == 1, text
