"""`targcc-gen patch` on whole projects: written files, refusals, undo, and an app that runs jobs afterwards."""

from __future__ import annotations

import codecs
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from targcc_gen.cli.commands.patch import patch
from targcc_gen.errors import TargccError
from targcc_gen.render import render_project
from targcc_gen.spec import load_spec, parse_spec
from targcc_gen.sync import Lock, apply, make_plan

Patch = Callable[..., tuple[int, str, str]]
PYPROJECT = '[project]\nname = "shop"\nversion = "1"\n'
MAIN = """from fastapi import FastAPI

from .settings import TITLE

app = FastAPI(title=TITLE)


@app.get("/")
def root():
    return {"hello": TITLE}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Patch:
    """Return a function that runs the command in the project and returns exit status, output and error text."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(patch, arguments)
        error = result.exception
        if isinstance(error, TargccError):
            return error.exit_status, result.stdout, f"{error.message}\n{error.hint or ''}"
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return result.exit_code, result.stdout, result.stderr

    return invoke


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Create a flat project with the package `shop`."""
    return write(
        tmp_path,
        {
            "pyproject.toml": PYPROJECT,
            "shop/__init__.py": "",
            "shop/settings.py": 'TITLE = "Shop"\n',
            "shop/main.py": MAIN,
        },
    )


def write(root: Path, texts: dict[str, str]) -> Path:
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    return root


def snapshot(root: Path) -> dict[str, bytes | None]:
    """Return every file with its bytes, and every folder."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


STARTS = "starts, a job ran, and the pages answer"


def test_the_scheduler_goes_into_the_apps_package(run: Patch, shop: Path):
    status, output, _ = run("--vendored")

    assert status == 0
    assert f"verified  shop.main:app {STARTS}" in output
    text = (shop / "shop/main.py").read_text()
    assert text == MAIN.replace(
        "from .settings", "from .scheduler import scheduler_router\nfrom .settings"
    ).replace("title=TITLE)\n", "title=TITLE)\napp.include_router(scheduler_router)\n")
    created = {path.relative_to(shop).as_posix() for path in shop.rglob("*") if path.is_file()}
    assert {
        "targcc.yaml",
        "shop/jobs/heartbeat.py",
        "shop/services.py",
        "shop/scheduler.py",
        "vendor/targcc-scheduler/pyproject.toml",
    } <= created
    assert not {"README.md", "Dockerfile", "src", ".github"} & {
        path.split("/")[0] for path in created
    }
    pyproject = (shop / "pyproject.toml").read_text()
    assert pyproject.startswith(PYPROJECT.rstrip())
    line = 'targcc-scheduler = { path = "vendor/targcc-scheduler", editable = true }'
    assert line in pyproject or "targcc-scheduler[guest]==" in pyproject


def test_a_second_run_has_nothing_to_do(run: Patch, shop: Path):
    run("--no-verify")
    before = snapshot(shop)

    status, output, _ = run()

    assert (status, snapshot(shop)) == (0, before)
    assert output.startswith("unchanged shop/main.py  app has the scheduler already")


def test_undo_brings_back_every_byte(run: Patch, shop: Path):
    before = snapshot(shop)
    run("--no-verify")
    assert snapshot(shop) != before

    assert run("--undo")[0] == 0
    assert snapshot(shop) == before
    status, output, _ = run("--undo")
    assert (status, output) == (0, "unchanged shop/main.py  it has no scheduler\n")


@pytest.mark.usefixtures("processes")
def test_undo_leaves_no_compiled_files_behind(run: Patch, shop: Path):
    before = snapshot(shop)
    run("--no-verify")
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", "shop/scheduler.py", "shop/jobs"],
        cwd=shop,
        check=True,
    )

    run("--undo")

    assert snapshot(shop) == before


def test_undo_keeps_the_scheduler_when_people_have_jobs_in_it(run: Patch, shop: Path):
    run("--no-verify")
    write(shop, {"shop/jobs/mine.py": "# my job\n"})

    status, output, _ = run("--undo")

    assert status == 0
    assert "shop/scheduler.py stays: shop/jobs/mine.py is yours" in output
    assert (shop / "shop/main.py").read_text() == MAIN
    assert (shop / "shop/scheduler.py").is_file()
    assert run("--no-verify")[0] == 0
    assert "include_router(scheduler_router)" in (shop / "shop/main.py").read_text()


def test_windows_line_ends_and_a_byte_order_mark_stay(run: Patch, shop: Path):
    data = codecs.BOM_UTF8 + MAIN.replace("\n", "\r\n").replace("hello", "héllo").encode()
    (shop / "shop/main.py").write_bytes(data)

    run("--no-verify")
    patched = (shop / "shop/main.py").read_bytes()
    run("--undo")

    assert b"\r\nfrom .scheduler import scheduler_router\r\n" in patched
    assert patched.count(b"\n") == patched.count(b"\r\n")
    assert (shop / "shop/main.py").read_bytes() == data


def test_the_patched_project_is_one_that_regenerates(run: Patch, shop: Path):
    run("--no-verify")

    plan = make_plan(render_project(load_spec(shop / "targcc.yaml")), shop)

    assert plan.is_empty


def test_a_factory_in_a_src_folder(run: Patch, tmp_path: Path):
    write(
        tmp_path,
        {
            "pyproject.toml": PYPROJECT,
            "src/shop/__init__.py": "",
            "src/shop/web/__init__.py": "",
            "src/shop/web/app.py": (
                "import fastapi as fa\n\n\ndef create_app(debug: bool = False) -> fa.FastAPI:\n"
                "    web: fa.FastAPI = fa.FastAPI(debug=debug)\n    return web\n"
            ),
        },
    )

    status, output, _ = run("--app", "shop.web.app:create_app", "--no-verify", "--json")

    assert status == 0
    assert json.loads(output)["served"] == "shop.web.app:create_app()"
    assert (
        "from shop.scheduler import scheduler_router"
        in (tmp_path / "src/shop/web/app.py").read_text()
    )
    assert (tmp_path / "src/shop/jobs/heartbeat.py").is_file()


def test_an_app_in_no_package_gets_a_package_beside_it(run: Patch, tmp_path: Path):
    write(
        tmp_path,
        {"main.py": "import fastapi\n\napp = fastapi.FastAPI()\n", "requirements.txt": "fastapi\n"},
    )

    status, output, _ = run("--no-verify")

    assert status == 0
    assert (
        "main is in no package: the scheduler gets a package of its own, jobs_scheduler" in output
    )
    assert "from jobs_scheduler.scheduler import" in (tmp_path / "main.py").read_text()
    assert (tmp_path / "jobs_scheduler/__init__.py").is_file()


def test_a_package_whose_names_are_taken_is_left_alone(run: Patch, shop: Path):
    write(shop, {"shop/jobs/__init__.py": "MINE = 1\n", "shop/services.py": "MINE = 2\n"})

    status, output, _ = run("--no-verify")

    assert status == 0
    assert "shop/jobs is there already: the scheduler gets a package of its own" in output
    assert (shop / "shop/jobs/__init__.py").read_text() == "MINE = 1\n"
    assert (shop / "jobs_scheduler/jobs/heartbeat.py").is_file()
    before = snapshot(shop)
    run("--undo")
    assert "jobs_scheduler" in {path.split("/")[0] for path in before}
    assert not (shop / "jobs_scheduler").exists()


def test_a_folder_of_that_name_is_not_written_into(run: Patch, tmp_path: Path):
    write(
        tmp_path,
        {"main.py": "import fastapi\napp = fastapi.FastAPI()\n", "jobs_scheduler/mine.py": ""},
    )
    before = snapshot(tmp_path)

    status, _, error = run()

    assert (status, snapshot(tmp_path)) == (2, before)
    assert "is there already, and targcc-gen did not make it" in error


def test_a_generated_project_is_wired_already(run: Patch, tmp_path: Path):
    spec = parse_spec("targcc: 1\nproject: {name: acme-jobs}\n", "targcc.yaml")
    apply(make_plan(render_project(spec), tmp_path))

    status, output, _ = run()

    assert (status, output) == (
        0,
        "unchanged src/acme_jobs/main.py  app has the scheduler already\n",
    )


def test_a_second_app_of_a_project_with_a_spec_uses_its_scheduler(run: Patch, tmp_path: Path):
    spec = parse_spec("targcc: 1\nproject: {name: acme-jobs}\n", "targcc.yaml")
    plan = make_plan(render_project(spec), tmp_path)
    pinned = {"blueprints/feed": "0"}
    apply(replace(plan, lock=replace(plan.lock, templates=pinned)))
    write(tmp_path, {"src/acme_jobs/ops.py": "from fastapi import FastAPI\n\nops = FastAPI()\n"})

    status, output, _ = run("src/acme_jobs/ops.py", "--no-verify")

    assert status == 0
    assert "create" not in output
    assert (tmp_path / "src/acme_jobs/ops.py").read_text() == (
        "from fastapi import FastAPI\n\nfrom acme_jobs.scheduler import scheduler_router\n\n"
        "ops = FastAPI()\nops.include_router(scheduler_router)\n"
    )
    assert Lock.load(tmp_path).templates == pinned
    assert run("src/acme_jobs/ops.py", "--undo")[0] == 0
    assert Lock.load(tmp_path).templates == pinned


FULL = "if len(ops.routes) > 4:\n    raise RuntimeError('no room')\n"


def test_a_failed_try_in_a_project_with_a_spec_leaves_its_lock_as_it_was(
    run: Patch, tmp_path: Path
):
    spec = parse_spec("targcc: 1\nproject: {name: acme-jobs}\n", "targcc.yaml")
    apply(make_plan(render_project(spec), tmp_path))
    write(
        tmp_path,
        {"src/acme_jobs/ops.py": f"from fastapi import FastAPI\n\nops = FastAPI()\n{FULL}"},
    )
    before = snapshot(tmp_path)

    status, _, error = run("src/acme_jobs/ops.py")

    assert (status, snapshot(tmp_path)) == (2, before)
    assert "RuntimeError: no room" in error
    assert "Everything is as it was before." in error


@pytest.mark.usefixtures("processes")
@pytest.mark.usefixtures("shop")
def test_the_command_line_says_what_is_wrong_without_a_traceback(tmp_path: Path):
    write(tmp_path, {"shop/main.py": "from fastapi import FastAPI\napp = FastAPI(\n"})
    command = [sys.executable, "-c", "from targcc_gen.cli import main; main()", "patch"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert result.stderr == (
        "shop/main.py:2:14: error[TG603]: '(' was never closed\n     2 | app = FastAPI(\n       |              ^\n"
        "  targcc-gen explain TG603\n"
    )


def test_a_name_that_is_taken_gets_an_alias_and_works(run: Patch, shop: Path):
    text = MAIN.replace("from .settings", "from fastapi import APIRouter as Router\nfrom .settings")
    write(
        shop,
        {
            "shop/main.py": text
            + "\nscheduler_router = Router()\napp.include_router(scheduler_router)\n"
        },
    )

    status, output, _ = run("--no-verify")

    assert status == 0
    assert "import scheduler_router as targcc_scheduler_router" in output


REFUSALS: dict[str, tuple[str, str]] = {
    "syntax error": (MAIN + "def broken(:\n", "shop/main.py:11:12: error: invalid syntax"),
    "two apps": (MAIN + "\nother = FastAPI()\n", "--app app"),
    "not text": ("\0\1\2", "null bytes"),
    "a script": ("print('hello')\n", "it makes no FastAPI app"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_file_that_cannot_be_told_leaves_everything_as_it_was(run: Patch, shop: Path, case: str):
    text, reason = REFUSALS[case]
    write(shop, {"shop/main.py": text})
    before = snapshot(shop)

    status, _, error = run("shop/main.py")

    assert (status, snapshot(shop)) == (2, before)
    assert reason in error


def test_an_app_that_does_not_load_without_the_scheduler_either_is_patched_and_not_verified(
    run: Patch, shop: Path
):
    write(shop, {"shop/main.py": MAIN + "\nimport nowhere_at_all\n"})

    status, output, _ = run()

    assert status == 0
    assert "patched, not verified: because shop.main:app cannot be loaded without" in output
    assert "No module named 'nowhere_at_all'" in output
    assert run("--require-verified")[0] == 3


def test_a_damaged_lock_is_refused(run: Patch, shop: Path):
    run("--no-verify")
    (shop / ".targcc/lock.jsonl").write_text("<<<<<<< mine\n")
    before = snapshot(shop)

    status, _, error = run("--undo")

    assert (status, snapshot(shop)) == (2, before)
    assert "the lock is damaged" in error


def test_a_file_that_may_not_be_written_is_a_conflict(run: Patch, shop: Path):
    (shop / "shop/main.py").chmod(0o444)
    before = snapshot(shop)

    status, _, error = run("--no-verify")

    assert (status, snapshot(shop)) == (3, before)
    assert "shop/main.py: it is read-only" in error


@pytest.mark.parametrize(
    "arguments", [("--dry-run",), ("--dry-run", "--diff"), ("--dry-run", "--json")]
)
def test_a_dry_run_writes_nothing(run: Patch, shop: Path, arguments: tuple[str, ...]):
    before = snapshot(shop)

    status, output, _ = run(*arguments)

    assert (status, snapshot(shop)) == (0, before)
    assert "app.include_router(scheduler_router)" in output


@pytest.mark.usefixtures("shop")
def test_the_diff_shows_the_lines(run: Patch):
    _, output, _ = run("--dry-run", "--diff")

    assert "\n+from .scheduler import scheduler_router\n" in output
    assert "--- a/shop/main.py\n+++ b/shop/main.py\n" in output


@pytest.mark.usefixtures("shop")
def test_programs_get_json(run: Patch):
    _, output, _ = run("--json")
    data: dict[str, Any] = json.loads(output)

    assert (data["file"], data["app"], data["verified"]) == (
        "shop/main.py",
        "shop.main:app",
        "shop.main:app",
    )
    assert data["added"] == [
        {"line": 3, "text": "from .scheduler import scheduler_router"},
        {"line": 7, "text": "app.include_router(scheduler_router)"},
    ]
    assert json.loads(run("--undo", "--json")[1])["removed"] == data["added"]


@pytest.mark.usefixtures("processes")
def test_an_environment_without_the_schedulers_needs_is_not_tried(run: Patch, shop: Path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(shop / ".venv")], check=True)

    status, output, _ = run("--vendored")

    assert status == 0
    assert "patched, not verified: because" in output
    assert "python -m pip install -e ./vendor/targcc-scheduler -e ." in output
    assert "targcc-gen patch --verify" in output
    assert (shop / ".targcc/untried").is_file()


def test_the_project_may_be_named_from_elsewhere(
    run: Patch, shop: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(shop.parent)

    status, output, _ = run("--project", str(shop), "--no-verify")

    assert status == 0
    assert "update    shop/main.py" in output


EVERY_SECOND = '''"""Ticks."""

from shop.scheduler import job


@job(every="1s")
def tick() -> str:
    """Say so."""
    return "ticked"
'''
WITH_LIFESPAN = """import contextlib
import pathlib

from fastapi import FastAPI


@contextlib.asynccontextmanager
async def lifespan(app):
    pathlib.Path("started").touch()
    yield


def create_app():
    app = FastAPI(lifespan=lifespan)

    @app.get("/{path:path}")
    def page(path: str):
        return {"page": path}

    return app


app = create_app()
"""


@pytest.mark.usefixtures("processes")
def test_the_patched_app_runs_jobs_beside_its_own_routes_and_lifespan(run: Patch, shop: Path):
    write(shop, {"shop/main.py": WITH_LIFESPAN})
    assert run("--vendored", "--no-verify")[0] == 0
    write(shop, {"shop/jobs/tick.py": EVERY_SECOND})

    with serving(shop, "shop.main:app") as url:
        wait_until(lambda: "ticked" in messages(shop / "shop.db"))
        assert fetch(f"{url}/any/page") == {"page": "any/page"}
        assert fetch(f"{url}/jobs/health/ready")["status"] == "ready"

    assert (shop / "started").is_file()


@contextmanager
def serving(root: Path, app: str) -> Iterator[str]:
    """Serve the app with uvicorn; yield its address once it responds."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port)]
    with (root / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, stdout=log, stderr=log, env=os.environ)
        try:
            wait_until(lambda: process.poll() is not None or ready(port))
            assert process.poll() is None, (root / "server.log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def ready(port: int) -> bool:
    try:
        return bool(fetch(f"http://127.0.0.1:{port}/jobs/health/ready"))
    except OSError:
        return False


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def messages(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT ResultMessage FROM c_LoggedJob WHERE Success = 1"
        ).fetchall()
    return [message for (message,) in rows]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)  # poll interval
