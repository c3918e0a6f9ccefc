"""The patched app is imported by a Python of its own, and what it serves is looked at."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import psutil
import pytest
from targcc_gen.errors import InputError
from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.layout import Layout
from targcc_gen.patch.app.source import Source
from targcc_gen.patch.check.verify import install_command, missing, project_python, verify
from targcc_gen.patch.choose import choose_app
from targcc_gen.patch.edit.wiring import Wiring, wire

PYTHON = Path(sys.executable)
ROUTER = """
from fastapi import APIRouter

scheduler_router = APIRouter()


@scheduler_router.get("/jobs")
def jobs(): ...


@scheduler_router.get("/api/jobs/{name}")
def job(name: str): ...
"""
WIRING = Wiring("acme.scheduler.app", "acme")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for name in ("acme", "acme/scheduler"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "acme" / "scheduler" / "app.py").write_text(ROUTER)
    return Layout(tmp_path, tmp_path, "acme.main", "acme")


def looked_at(layout: Layout, text: str, *, patched: bool = True, timeout: float = 60) -> str:
    file = AppFile(Source("main.py", text.encode()))
    app = choose_app(file, None, WIRING)
    data = wire(file, app, WIRING).data if patched else text.encode()
    (layout.source / "acme" / "main.py").write_bytes(data)
    return verify(PYTHON, layout, app, WIRING.module, timeout=timeout).looked


@pytest.mark.parametrize(
    ("text", "looked"),
    [
        ("from fastapi import FastAPI\napp = FastAPI()\napp.mount('/', len)\n", "acme.main:app"),
        (
            (
                "from fastapi import FastAPI\nfrom starlette.middleware.gzip import GZipMiddleware\n"
                "app = FastAPI()\napp = GZipMiddleware(app)\n"
            ),
            "acme.main:app",
        ),
        (
            "from fastapi import FastAPI\ndef create_app(debug=False):\n    app = FastAPI()\n    return app\n",
            "acme.main:create_app()",
        ),
        (
            (
                "from fastapi import FastAPI\ndef create_app(name):\n    web = FastAPI()\n    return web\n"
                "app = create_app('a')\n"
            ),
            "acme.main:app",
        ),
        (
            "from fastapi import FastAPI\ndef create_app(settings):\n    app = FastAPI()\n    return app\n",
            "imported; create_app was not called, it needs settings",
        ),
    ],
)
def test_finds_the_app_and_the_schedulers_routes(layout: Layout, text: str, looked: str):
    assert looked_at(layout, text) == looked


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "from fastapi import FastAPI\napp = FastAPI()\nraise ValueError('no database')\n",
            "ValueError: no database",
        ),
        (
            "import sys\nfrom fastapi import FastAPI\napp = FastAPI()\nsys.exit('not now')\n",
            "SystemExit: not now",
        ),
        (
            "import os\nfrom fastapi import FastAPI\napp = FastAPI()\nos._exit(7)\n",
            "ended with status 7",
        ),
        (
            "from fastapi import FastAPI\nimport nowhere\napp = FastAPI()\n",
            "No module named 'nowhere'",
        ),
    ],
)
def test_an_app_that_does_not_import_is_refused_with_its_last_lines(layout, text, reason):
    with pytest.raises(InputError) as caught:
        looked_at(layout, text)
    assert caught.value.message.startswith("acme.main does not work with the scheduler in it\n")
    assert reason in caught.value.message


def test_an_app_without_the_router_is_refused(layout: Layout):
    with pytest.raises(InputError, match="does not include scheduler_router"):
        looked_at(layout, "from fastapi import FastAPI\napp = FastAPI()\n", patched=False)


def test_an_import_that_never_ends_is_stopped_with_its_children(layout: Layout):
    text = (
        "import subprocess, sys, threading\nfrom fastapi import FastAPI\napp = FastAPI()\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('child', 'w').write(str(child.pid))\nthreading.Event().wait()\n"
    )
    with pytest.raises(InputError, match="importing it took longer than 10 s"):
        looked_at(layout, text, timeout=10)
    pid = int((layout.root / "child").read_text())
    with contextlib.suppress(psutil.NoSuchProcess):
        child = psutil.Process(pid)
        assert child.status() == psutil.STATUS_ZOMBIE or child.wait(10) is not None


def test_a_running_thread_does_not_keep_the_import_alive(layout: Layout):
    text = (
        "import threading\nfrom fastapi import FastAPI\napp = FastAPI()\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
    )
    assert looked_at(layout, text) == "acme.main:app"


def test_a_route_in_front_of_the_scheduler_is_found(layout: Layout):
    text = (
        "from fastapi import FastAPI\nclass Shop(FastAPI):\n    def __init__(self):\n        super().__init__()\n"
        "        self.add_api_route('/{path:path}', lambda path: path)\napp = Shop()\n"
    )
    with pytest.raises(
        InputError, match="comes before the scheduler's and answers GET /jobs, GET /api/jobs"
    ):
        looked_at(layout, text)


def test_a_route_of_the_app_that_the_scheduler_would_answer_is_found(layout: Layout):
    text = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/jobs')\ndef my_jobs(): ...\n"
    with pytest.raises(
        InputError, match="answers GET /jobs itself, and the scheduler would answer that first"
    ):
        looked_at(layout, text)


def test_a_catch_all_of_the_app_is_no_conflict(layout: Layout):
    text = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/{path:path}')\ndef page(path): ...\n"
    assert looked_at(layout, text) == "acme.main:app"


def test_the_import_leaves_no_compiled_files(layout: Layout):
    looked_at(layout, "from fastapi import FastAPI\napp = FastAPI()\n")
    assert not list(layout.root.rglob("__pycache__"))


def test_what_the_environment_lacks_is_listed(layout: Layout):
    wanted = ["fastapi>=0.100", "fastapi>=9000", "no-such-distribution-here>=1"]
    assert missing(PYTHON, layout, wanted) == wanted[1:]


def test_an_interpreter_that_does_not_run_is_said(layout: Layout):
    with pytest.raises(InputError, match="does not run"):
        missing(layout.root / "no-python", layout, [])


def test_the_projects_environment_comes_before_the_active_one(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
    assert project_python(tmp_path) == PYTHON
    for folder in ("active", ".venv"):
        (tmp_path / folder / "bin").mkdir(parents=True)
        (tmp_path / folder / "bin" / "python").touch()
        assert project_python(tmp_path) == tmp_path / folder / "bin" / "python"


@pytest.mark.parametrize(
    ("pyproject", "command"),
    [
        ({"project": {}}, 'uv add "a>=1" "b"'),
        ({"tool": {"poetry": {}}}, 'poetry add "a>=1" "b"'),
        ({}, 'python -m pip install "a>=1" "b"'),
    ],
)
def test_the_command_that_installs_fits_the_project(tmp_path, pyproject, command):
    assert install_command(tmp_path, pyproject, ["a>=1", "b"]) == command
