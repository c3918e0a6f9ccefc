"""Files around an app: images get the wheel, git ignores the database, coverage holds, and a folder `services` is no obstacle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.patch.dockerfile import with_folders, without_folders

MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"
PROJECT = '[project]\nname = "app"\nversion = "1"\ndependencies = ["fastapi"]\n'


def app(root: Path, files: dict[str, str]) -> Path:
    for path, text in {
        "pyproject.toml": PROJECT,
        "app/__init__.py": "",
        "app/main.py": MAIN,
        **files,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    return root


def run(root: Path, *words: str) -> str:
    result = CliRunner().invoke(main, [*words, "--project", str(root)])
    assert result.exit_code == 0, result.output
    return result.output


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


IMAGES = {
    "pyproject.toml and the app": (
        "pyproject.toml",
        "FROM python:3.12\nWORKDIR /code\nCOPY pyproject.toml uv.lock ./\nRUN uv sync\nCOPY app ./app\n",
        "COPY pyproject.toml uv.lock ./\nCOPY vendor/ ./vendor/\nRUN uv sync\n",
    ),
    "an absolute target and an owner": (
        "pyproject.toml",
        "FROM python:3.12\nCOPY --chown=web ./pyproject.toml /code/pyproject.toml\nRUN pip install /code\n",
        "/code/pyproject.toml\nCOPY --chown=web vendor/ /code/vendor/\n",
    ),
    "requirements.txt, read from the working folder": (
        "requirements.txt",
        "FROM python:3.12\nWORKDIR /code\nCOPY requirements.txt /tmp/requirements.txt\nRUN pip install -r /tmp/requirements.txt",
        "COPY vendor/ ./vendor/\nRUN pip",
    ),
    "a workspace": (
        "pyproject.toml",
        "FROM python:3.12\nCOPY ./backend/pyproject.toml /app/backend/\nRUN uv sync --package app\n",
        "COPY backend/vendor/ /app/backend/vendor/\nRUN uv",
    ),
    "a pattern": (
        "requirements.txt",
        "FROM python:3.12\nCOPY requirements*.txt ./\nRUN pip install -r requirements.txt\nCOPY . .\n",
        "COPY requirements*.txt ./\nCOPY vendor/ ./vendor/\nRUN",
    ),
    "a folder of requirements": (
        "requirements/base.txt",
        "FROM python:3.12\nADD requirements/ /code/requirements/\nRUN pip install -r requirements/base.txt\n",
        "ADD vendor/ ./vendor/\n",
    ),
    "a list": (
        "pyproject.toml",
        'FROM python:3.12\nCOPY ["pyproject.toml", "/code/"]\n',
        '"/code/"]\nCOPY vendor/ /code/vendor/\n',
    ),
    "two stages": (
        "pyproject.toml",
        "FROM python:3.12 AS build\nCOPY pyproject.toml .\nRUN pip install .\nFROM python:3.12\nCOPY --from=build /venv /venv\nCOPY app app\n",
        "COPY pyproject.toml .\nCOPY vendor/ ./vendor/\nRUN pip install .\nFROM python:3.12\nCOPY --from=build /venv /venv\nCOPY app app\n",
    ),
    "mounts of uv": (
        "pyproject.toml",
        "FROM python:3.12\nRUN --mount=type=cache,target=/root/.cache/uv \\\n    --mount=type=bind,source=uv.lock,target=uv.lock \\\n    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \\\n    uv sync --no-install-project\nADD . /app\n",
        "target=pyproject.toml \\\n    --mount=type=bind,source=vendor,target=vendor \\\n    uv sync",
    ),
    "a mount on one line": (
        "pyproject.toml",
        "FROM python:3.12\nRUN --mount=type=bind,source=pyproject.toml,target=/x/pyproject.toml uv sync\n",
        "target=/x/pyproject.toml --mount=type=bind,source=vendor,target=/x/vendor uv sync\n",
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_gets_the_wheel_before_it_installs(name):
    manifest, before, part = IMAGES[name]

    after = with_folders(before, manifest)

    assert part in after
    assert after.count("vendor") == before.count("vendor") + 2
    assert without_folders(after) == before
    assert with_folders(after, manifest) == after


@pytest.mark.parametrize(
    "text",
    [
        "FROM python:3.12\nCOPY . .\nRUN pip install .\n",
        "FROM python:3.12\nCOPY pyproject.toml ./\nCOPY . .\nRUN pip install .\n",
        "FROM python:3.12\nCOPY pyproject.toml vendor ./\nRUN pip install .\n",
        "FROM node:22\nCOPY package.json ./\nRUN npm ci\n",
    ],
)
def test_an_image_that_has_the_wheel_is_left_alone(text):
    assert with_folders(text, "pyproject.toml") == text


def test_a_package_beside_the_app_is_copied_like_the_app():
    before = "FROM python:3.12\nCOPY pyproject.toml ./\nRUN pip install .\nCOPY ./app /code/app\n"

    after = with_folders(before, "pyproject.toml", [("app", "jobs_scheduler")])

    assert after.endswith("COPY ./app /code/app\nCOPY jobs_scheduler/ /code/jobs_scheduler/\n")
    assert without_folders(after, ("vendor", "jobs_scheduler")) == before


WORKSPACE = """FROM python:3.12
WORKDIR /app/
RUN --mount=type=bind,source=uv.lock,target=uv.lock \\
    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \\
    uv sync --frozen --no-install-workspace --package app
COPY ./backend/pyproject.toml ./backend/alembic.ini /app/backend/
COPY ./backend/app /app/backend/app
RUN uv sync --frozen --package app
"""


def test_an_image_of_a_workspace_gets_the_wheel_of_its_member():
    """Docker copies from the workspace, whose own pyproject.toml has no vendor beside."""
    after = with_folders(WORKSPACE, "pyproject.toml", inside="backend")

    assert "--mount=type=bind,source=backend/vendor,target=backend/vendor \\\n    uv sync" in after
    assert "/app/backend/\nCOPY backend/vendor/ /app/backend/vendor/\nCOPY ./backend/app" in after
    assert without_folders(after) == WORKSPACE


def test_an_image_above_the_project_is_named(tmp_path: Path):
    (tmp_path / ".git").mkdir()
    text = "FROM python:3.12\nCOPY backend/pyproject.toml ./\nRUN pip install .\n"
    (tmp_path / "Dockerfile").write_text(text, encoding="utf-8")

    output = run(app(tmp_path / "backend", {}), "patch", "--no-verify")

    assert "Dockerfile: copy backend/vendor/ too, before the packages are installed" in output


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_images_and_git_of_an_app(tmp_path: Path, ends: str):
    files = {
        "Dockerfile": "FROM python:3.12\nCOPY pyproject.toml ./\nRUN pip install .\nCOPY app ./app\n",
        "docker/worker.Dockerfile": "FROM python:3.12\nCOPY pyproject.toml ./\nRUN pip install .\n",
        "docker/odd.Dockerfile": "FROM python:3.12\nRUN cat >pyproject.toml <<E\nE\n",
        ".dockerignore": ".git\nvendor/\n",
        ".gitignore": ".venv/\n*.whl",
    }
    root = app(tmp_path, {path: text.replace("\n", ends) for path, text in files.items()})
    before = contents(root)

    output = run(root, "patch", "--no-verify")

    after = contents(root)
    copied = f"COPY vendor/ ./vendor/{ends}".encode()
    assert copied in after["Dockerfile"]
    assert copied in after["docker/worker.Dockerfile"]
    assert after[".gitignore"] == before[".gitignore"] + f"{ends}app.db*".encode()
    assert "docker/odd.Dockerfile: copy vendor/ too, before the packages are installed" in output
    assert ".dockerignore:2 leaves vendor/ out of the image: add !vendor below it" in output
    assert ".gitignore:2 leaves out vendor/targcc_scheduler-" in output
    assert "the image installs before it has the scheduler" not in output
    assert "Nothing to do" in run(root, "regenerate")

    run(root, "patch", "--undo")
    assert contents(root) == before


def test_git_ignores_no_file_that_there_is_not(tmp_path: Path):
    root = app(tmp_path / "a", {".gitignore": "*.db*\n"})
    run(root, "patch", "--no-verify")
    assert (root / ".gitignore").read_text(encoding="utf-8") == "*.db*\n"

    root = app(tmp_path / "b", {".gitignore": ".venv\n"})
    run(root, "patch", "--no-verify", "--database", "postgresql")
    assert (root / ".gitignore").read_text(encoding="utf-8") == ".venv\n"


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("path", "trial"),
    [("app/services/__init__.py", "--require-verified"), ("app/services.py", "--no-verify")],
)
def test_services_of_the_app_do_not_push_the_scheduler_out_of_its_package(
    path, trial, tmp_path: Path
):
    root = app(tmp_path, {path: "MAILER = 1\n"})
    before = contents(root)

    output = run(root, "patch", trial)

    assert "note      app/services" in output
    assert "stays yours: jobs get the scheduler's own services" in output
    assert ("a job ran, and the pages answer" in output) == (trial == "--require-verified")
    assert (root / "app/scheduler.py").is_file()
    assert (root / path).read_text(encoding="utf-8") == "MAILER = 1\n"
    assert "Nothing to do" in run(root, "regenerate")
    run(root, "patch", "--undo")
    assert contents(root) == before


def test_a_job_of_an_app_takes_services_from_the_scheduler(tmp_path: Path):
    """The app's own `services` does not have them."""
    root = app(tmp_path, {"app/services/__init__.py": ""})
    run(root, "patch", "--no-verify")

    run(root, "job", "Nightly", "--cron", "0 2 * * *", "--blueprint", "report")

    job = (root / "app/jobs/nightly.py").read_text(encoding="utf-8")
    names = "Database, JobContext, JobResult, Mailer, job, logged_job"
    assert f"from app.scheduler import {names}\n" in job
    assert "app.services" not in job


def test_an_app_with_services_of_its_own_gets_a_test_without_ours(tmp_path: Path):
    files = {"pyproject.toml": PROJECT + COVERAGE, "tests/test_main.py": OWN_TEST}
    root = app(tmp_path, {**files, "app/services/__init__.py": ""})
    run(root, "patch", "--no-verify")
    text = (root / "tests/test_app_scheduler.py").read_text(encoding="utf-8")
    assert "services" not in text.partition('"""\n')[2]
    compile(text, "test_app_scheduler.py", "exec")


COVERAGE = """
[tool.pytest.ini_options]
addopts = "--cov=app --cov-branch --cov-fail-under=100"
pythonpath = ["."]
"""
OWN_TEST = (
    "from app.main import app\n\n\ndef test_it_is_made():\n    assert app.title == 'FastAPI'\n"
)


@pytest.mark.usefixtures("processes")
def test_the_coverage_of_an_app_does_not_sink(tmp_path: Path):
    files = {"pyproject.toml": PROJECT + COVERAGE, "tests/test_main.py": OWN_TEST}
    root = app(tmp_path, files)
    before = contents(root)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    tests += ["--rootdir", str(root), "tests"]

    def own_tests() -> subprocess.CompletedProcess[str]:
        return subprocess.run(tests, cwd=root, capture_output=True, text=True, check=False)

    assert own_tests().returncode == 0

    output = run(root, "patch", "--no-verify")

    assert "create    tests/test_app_scheduler.py" in output
    done = own_tests()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Required test coverage of 100% reached" in done.stdout
    (root / ".coverage").unlink()
    assert "Nothing to do" in run(root, "regenerate")
    assert "has the scheduler already" in run(root, "patch", "--no-verify")
    run(root, "patch", "--undo")
    assert contents(root) == before


def test_an_app_without_a_coverage_to_hold_gets_no_test(tmp_path: Path):
    root = app(tmp_path, {"tests/test_main.py": OWN_TEST})
    run(root, "patch", "--no-verify")
    assert [path.name for path in (root / "tests").iterdir()] == ["test_main.py"]
