"""Start the patched app as its server does: an app that never runs the scheduler is detected."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import targcc_scheduler
from click.testing import CliRunner
from targcc_gen.cli.commands.patch import patch
from targcc_gen.errors import InputError
from targcc_gen.patch.app_file import RefusalError

F = "from fastapi import FastAPI\n"
SET_LATER = (
    "import contextlib\n\n\n@contextlib.asynccontextmanager\nasync def lifespan(app):\n    yield\n\n\n"
    "app.router.lifespan_context = lifespan\n"
)
LIMIT = (
    "\n\nclass Limit:\n    def __init__(self, inner):\n        self.inner = inner\n\n"
    "    async def __call__(self, scope, receive, send):\n        if scope['type'] == 'http':\n"
    "            await self.inner(scope, receive, send)\n\n\n"
)
HAS_WRAPPER = "with_scheduler" in targcc_scheduler.__all__


def project(root: Path, **modules: str) -> Path:
    """Create a project with the package `shop`."""
    (root / "setup.py").touch()
    (root / "shop").mkdir()
    for name, text in {"__init__": "", **modules}.items():
        (root / "shop" / f"{name}.py").write_text(text, encoding="utf-8")
    return root


def run(root: Path, *arguments: str) -> str:
    """Run the command and return its output.

    Raises:
        InputError: The command refused or failed.
    """
    given = [
        str(root / argument) if argument.endswith(".py") else argument for argument in arguments
    ]
    result = CliRunner().invoke(patch, [*given, "--project", str(root)])
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def is_in_place(root: Path, text: str) -> bool:
    """Return whether the project is patched except for the lines in the app file."""
    return (root / "shop/main.py").read_text() == text and (root / "targcc.yaml").is_file()


def test_a_lifespan_that_is_set_later_comes_before_the_include(tmp_path: Path):
    text = F + "\napp = FastAPI()\n" + SET_LATER + "\n\n@app.get('/x')\ndef x(): ...\n"
    root = project(tmp_path, main=text)

    run(root, "--no-verify")

    lines = (root / "shop/main.py").read_text().splitlines()
    at = lines.index("app.include_router(scheduler_router)")
    assert lines[at - 1] == "app.router.lifespan_context = lifespan"
    run(root, "--undo")
    assert (root / "shop/main.py").read_text() == text


@pytest.mark.usefixtures("processes")
def test_a_lifespan_that_another_function_sets_is_found_and_the_app_is_wrapped(tmp_path: Path):
    """The trial starts the app, sees no scheduler, and tries the line that wraps the app."""
    later = "import contextlib\n\n\n@contextlib.asynccontextmanager\nasync def lifespan(app):\n    yield\n\n\n"
    later += "def set_up(app):\n    app.router.lifespan_context = lifespan\n"
    text = F + "\nfrom shop.later import set_up\n\napp = FastAPI()\nset_up(app)\n"
    root = project(tmp_path, main=text, later=later)
    before = files(root)

    output = run(root)

    assert "starts, but not the scheduler" in output
    assert "verified  shop.main:app starts" in output
    written = (root / "shop/main.py").read_text()
    assert (
        written
        == text.replace(
            "import set_up\n", "import set_up\nfrom shop.scheduler import with_scheduler\n"
        )
        + 'app = with_scheduler(app, "/jobs")\n'
    )
    assert "unchanged" in run(root)
    run(root, "--undo")
    assert (files(root), (root / "shop/main.py").read_text()) == (before, text)


@pytest.mark.usefixtures("processes")
def test_an_app_that_was_wrapped_and_not_tried_is_tried_by_the_next_patch(tmp_path: Path):
    text = "from starlette.applications import Starlette\n\napplication = Starlette()\n"
    root = project(tmp_path, main=text)
    run(root, "--no-verify")
    (root / ".targcc" / "untried").touch()

    output = run(root)

    assert "unchanged" in output
    assert "verified  shop.main:application starts" in output


@pytest.mark.usefixtures("processes")
def test_an_app_that_is_wrapped_as_it_is_made_is_wrapped_once_more(tmp_path: Path):
    """The middleware passes no lifespan on: the scheduler starts beside it, above the line that serves the app."""
    head = F + LIMIT + "app = Limit(FastAPI())\n\n\ndef last(): ...\n"
    guard = "\n\nif __name__ == '__main__':\n    import uvicorn\n\n    uvicorn.run(app)\n"
    root = project(tmp_path, main=head + guard)

    assert "verified  shop.main:app starts" in run(root)

    lines = (root / "shop/main.py").read_text().splitlines()
    at = lines.index('app = with_scheduler(app, "/jobs")')
    assert lines[at - 3 : at] == ["def last(): ...", "", ""]
    assert lines[at + 1 :][2] == "if __name__ == '__main__':"
    run(root, "--undo")
    assert (root / "shop/main.py").read_text() == head + guard


ROUTES = (
    "from starlette.applications import Starlette\nfrom starlette.routing import Mount\n\n"
    "from shop.main import app\n\n"
)

# How another file mounts `shop.main:app`, and the line that the outer app gets.
MOUNTS = {
    "a FastAPI app": (
        F + "from shop.main import app\n\nroot = FastAPI()\nroot.mount('/api', app)\n",
        "root.include_router(scheduler_router)",
    ),
    "a module's attribute, in a wrapper": (
        F
        + "from starlette.middleware.gzip import GZipMiddleware\nfrom shop import main\n\nroot = FastAPI()\n"
        "root.mount('/api', GZipMiddleware(main.app))\n",
        "root.include_router(scheduler_router)",
    ),
    "a factory": (
        F
        + "from shop.main import app\n\n\ndef create():\n    root = FastAPI()\n    root.mount('/', app)\n    return root\n",
        "    root.include_router(scheduler_router)",
    ),
    "another name": (
        F + "from .names import api\n\nroot = FastAPI()\nroot.mount('/api', api)\n",
        "root.include_router(scheduler_router)",
    ),
    "the routes of a Starlette app": (
        f"{ROUTES}root = Starlette(routes=[Mount('/api', app=app)])\n",
        'root = with_scheduler(root, "/jobs")',
    ),
    "routes with a name": (
        f"{ROUTES}routes = [Mount('/api', app=app)]\nroot = Starlette(routes=routes)\n",
        'root = with_scheduler(root, "/jobs")',
    ),
}


@pytest.mark.parametrize("name", MOUNTS)
@pytest.mark.parametrize("words", [(), ("shop/main.py",), ("--app", "shop.main:app")])
def test_the_outermost_app_gets_the_lines(tmp_path: Path, name: str, words: tuple[str, ...]):
    outer, line = MOUNTS[name]
    inner = F + "app = FastAPI()\n"
    names = "from .main import app as api\n"
    root = project(tmp_path, main=inner, outer=outer, names=names)
    if not words and "Starlette" in outer:
        words = (
            "shop/main.py",
        )  # without a word the only FastAPI app of the project is the inner one

    output = run(root, "--no-verify", *words)

    assert line in (root / "shop/outer.py").read_text().splitlines()
    assert (root / "shop/main.py").read_text() == inner
    if words:
        assert "shop/outer.py:" in output
        assert "mounts the app: the lines go to the outer app" in output
    run(root, "--undo")
    assert (root / "shop/outer.py").read_text() == outer


def test_an_app_that_a_builder_takes_in_a_factory_is_refused_with_the_line_that_returns_it(
    tmp_path: Path,
):
    text = (
        F + "\n\nclass Builder:\n    def __init__(self, app):\n        self.app = app\n\n\n"
        "def create_app():\n    api = Builder(FastAPI())\n    return api.app\n"
    )
    root = project(tmp_path, main=text)

    with pytest.raises(RefusalError, match="it is wrapped as it is made") as caught:
        run(root)

    lines = [line.strip() for line in str(caught.value.hint).splitlines() if line[:4] == "    "]
    assert lines == [
        "from shop.scheduler import with_scheduler",
        'return with_scheduler(api.app, "/jobs")',
    ]
    assert "in place of the `return` of line 11" in str(caught.value.hint)


def test_an_app_that_a_server_loads_stays_the_app_although_another_file_mounts_it(tmp_path: Path):
    outer = F + "from shop.main import app\n\nroot = FastAPI()\nroot.mount('/api', app)\n"
    root = project(tmp_path, main=F + "app = FastAPI()\n", outer=outer)
    (root / "Procfile").write_text("web: uvicorn shop.main:app\n")

    run(root, "--no-verify")

    assert "include_router" in (root / "shop/main.py").read_text()


def test_an_app_that_is_mounted_by_an_unknown_app_is_refused_with_the_place(tmp_path: Path):
    outer = "from shop.main import app\n\n\ndef put(root):\n    root.mount('/api', app)\n"
    root = project(tmp_path, main=F + "app = FastAPI()\n", outer=outer)

    with pytest.raises(RefusalError, match=r"shop/outer\.py:5 mounts it in an app") as caught:
        run(root)

    lines = [line.strip() for line in str(caught.value.hint).splitlines() if line[:4] == "    "]
    assert lines == ["from shop.scheduler import mount", "mount(root)"]
    assert "shop/outer.py, below line 4" in str(caught.value.hint)


@pytest.mark.usefixtures("processes")
def test_an_app_that_is_mounted_by_a_loop_is_found_in_the_trial(tmp_path: Path):
    text = (
        F + "app = FastAPI()\nroot = FastAPI()\nfor path, part in {'/api': app}.items():\n"
        "    root.mount(path, part)\n"
    )
    root = project(tmp_path, main=text)

    with pytest.raises(RefusalError, match="another app mounts it at /api") as caught:
        run(root, "--app", "shop.main:app")

    assert "Name the app that mounts it" in str(caught.value.hint)
    assert is_in_place(root, text)
    assert "verified  shop.main:root starts" in run(root, "--app", "shop.main:root")


@pytest.mark.usefixtures("processes")
def test_a_run_that_the_trial_cannot_see_is_not_verified(tmp_path: Path):
    """The app sets the scheduler's database itself: the trial's own database stays empty."""
    text = (
        "import os, pathlib\n\nplace = pathlib.Path(__file__).with_name('own.db').as_posix()\n"
        f"os.environ['TARGCC_DATABASE_URL'] = f'sqlite:///{{place}}'\n\n{F}app = FastAPI()\n"
    )
    root = project(tmp_path, main=text)

    assert "not verified: because the app sets the scheduler's database itself" in run(root)


@pytest.mark.soak
@pytest.mark.parametrize(
    "command", ["uvicorn shop.main:app --lifespan off", "gunicorn shop.main:app"]
)
def test_a_server_without_lifespan_is_told_what_runs_beside_it(tmp_path: Path, command: str):
    text = F + "app = FastAPI()\n"
    root = project(tmp_path, main=text)
    (root / "Procfile").write_text(f"web: {command}\n")

    with pytest.raises(RefusalError) as caught:
        run(root)

    assert "Procfile:1 starts the server so that nothing in the app can run jobs" in str(
        caught.value.hint
    )
    assert " worker " in str(caught.value.hint)
    assert is_in_place(root, text)


@pytest.mark.usefixtures("processes")
def test_a_factory_that_nothing_calls_is_patched_and_not_verified(tmp_path: Path):
    text = F + "\n\ndef create_app(settings, *, name):\n    app = FastAPI()\n    return app\n"
    root = project(tmp_path, main=text)

    output = run(root)

    assert "patched, not verified: because create_app needs settings, name" in output
    assert "app.include_router(scheduler_router)" in (root / "shop/main.py").read_text()
    again = CliRunner().invoke(patch, ["--project", str(root), "--require-verified"])
    assert again.exit_code == 3


@pytest.mark.usefixtures("processes")
def test_the_settings_that_an_app_misses_are_named(tmp_path: Path):
    """pydantic's message has several lines for each value, and ends with a link."""
    text = (
        "from pydantic_settings import BaseSettings\n\n\nclass Config(BaseSettings):\n"
        "    SHOP_DATABASE_URL: str\n    SHOP_SENTRY_DSN: str\n\n\nsettings = Config()\n"
    )
    main = F + "from shop.config import settings\n\napp = FastAPI(title=settings.SHOP_SENTRY_DSN)\n"
    root = project(tmp_path, main=main, config=text)

    output = run(root)

    assert "shop.main:app cannot be loaded without the scheduler either" in output
    assert "ValidationError: 2 validation errors for Config" in output
    assert "SHOP_DATABASE_URL" in output
    assert "SHOP_SENTRY_DSN" in output
    assert "errors.pydantic.dev" not in output


@pytest.mark.soak
@pytest.mark.skipif(not HAS_WRAPPER, reason="everything is below one prefix together with it")
@pytest.mark.parametrize(
    "text",
    [
        F + "def uid(route):\n    return f'{route.tags[0]}-{route.name}'\n\n\n"
        "app = FastAPI(generate_unique_id_function=uid)\n\n\n@app.get('/x', tags=['x'])\ndef x(): ...\n",
        F + "app = FastAPI()\n\n\n@app.get('/metrics')\ndef metrics(): ...\n",
        "import os\n"
        + F
        + "if os.environ.get('X'):\n    from shop.other import app\nelse:\n    app = FastAPI()\n",
    ],
    ids=["unique_ids_by_tag", "own_metrics", "one_branch"],
)
def test_a_host_of_a_usual_shape_is_verified(tmp_path: Path, text: str):
    root = project(tmp_path, main=text, other=F + "app = FastAPI()\n")
    before = files(root)

    assert "verified  shop.main:app starts" in run(root, "shop/main.py")

    run(root, "--undo")
    assert files(root) == before


@pytest.mark.soak
def test_the_branch_that_gets_its_app_from_elsewhere_has_the_scheduler_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = (
        "import os\n"
        + F
        + "if os.environ.get('OTHER'):\n    from shop.other import app\nelse:\n    app = FastAPI()\n"
    )
    root = project(tmp_path, main=text, other=F + "app = FastAPI(title='other')\n")
    monkeypatch.setenv("OTHER", "1")

    assert "verified  shop.main:app starts" in run(root, "shop/main.py")


def test_an_own_page_at_the_prefix_is_refused_with_a_free_one(tmp_path: Path):
    text = F + "app = FastAPI()\n\n\n@app.get('/jobs')\ndef jobs(): ...\n"
    root = project(tmp_path, main=text)

    with pytest.raises(RefusalError, match="answers GET /jobs itself") as caught:
        run(root)

    assert "targcc-gen patch --prefix /ops/jobs" in str(caught.value.hint)
    assert is_in_place(root, text)


@pytest.mark.soak
@pytest.mark.skipif(not HAS_WRAPPER, reason="it comes together with it")
def test_another_prefix_works_beside_an_own_page_at_the_usual_one(tmp_path: Path):
    root = project(tmp_path, main=F + "app = FastAPI()\n\n\n@app.get('/jobs')\ndef jobs(): ...\n")

    assert "verified  shop.main:app starts" in run(root, "--prefix", "/ops/jobs")

    assert 'mount(app, "/ops/jobs")' in (root / "shop/main.py").read_text()
    assert "verified  shop.main:app starts" in run(root, "--verify")


def test_the_prefix_of_a_patched_app_is_looked_at_and_changed(tmp_path: Path):
    root = project(tmp_path, main=F + "app = FastAPI()\n")
    before, text = files(root), (root / "shop/main.py").read_text()
    run(root, "--no-verify")
    patched = (root / "shop/main.py").read_text()

    for bad in ("nope", "/", "/a b", "/ops?x"):
        result = CliRunner().invoke(patch, ["--project", str(root), "--prefix", bad])
        assert (result.exit_code, "is no path such as /ops/jobs" in result.output) == (2, True)
    assert (root / "shop/main.py").read_text() == patched
    assert 'mount(app, "/ops")' in run(root, "--prefix", "/ops/", "--no-verify")
    assert "unchanged" in run(root, "--prefix", "/ops")
    assert (root / "shop/main.py").read_text().splitlines()[1:] == [
        "from shop.scheduler import mount",
        "app = FastAPI()",
        'mount(app, "/ops")',
    ]
    run(root, "--undo")
    assert (files(root), (root / "shop/main.py").read_text()) == (before, text)


@pytest.mark.soak
def test_a_prefix_that_is_taken_leaves_a_patched_app_where_it_was(tmp_path: Path):
    own = "\n\n@app.get('/ops')\ndef ops(): ...\n"
    root = project(tmp_path, main=F + f"app = FastAPI()\n{own}")
    run(root, "--require-verified")
    patched = (root / "shop/main.py").read_text()

    with pytest.raises(RefusalError, match="answers GET /ops itself") as caught:
        run(root, "--prefix", "/ops")

    assert "The scheduler is where it was." in str(caught.value.hint)
    assert (root / "shop/main.py").read_text() == patched
    assert "verified  shop.main:app starts" in run(root, "--prefix", "/work")
    assert 'mount(app, "/work")' in (root / "shop/main.py").read_text()


@pytest.mark.soak
def test_lines_in_the_file_that_the_server_loads_are_compared_moved_and_undone(tmp_path: Path):
    """The lines are added by hand where the app is imported; the prefix is taken by a page of the app."""
    core = F + "api = FastAPI()\n\n\n@api.get('/jobs')\ndef jobs(): ...\n"
    line = "from shop.core import api as app\n"
    root = project(tmp_path, core=core, main=line)
    (root / "Procfile").write_text("web: uvicorn shop.main:app\n")
    before = files(root)
    with pytest.raises(RefusalError, match="answers GET /jobs itself"):
        run(root)
    (root / "shop/main.py").write_text(
        f'from shop.scheduler import with_scheduler\n{line}app = with_scheduler(app, "/jobs")\n'
    )

    with pytest.raises(InputError, match="answers GET /jobs itself") as caught:
        run(root, "--verify")

    assert "targcc-gen patch --prefix /ops/jobs" in str(caught.value.hint)
    assert "unchanged" in run(root)
    assert "verified  shop.main:app starts" in run(root, "--prefix", "/ops/jobs")
    assert 'with_scheduler(app, "/ops/jobs")' in (root / "shop/main.py").read_text()
    run(root, "--undo")
    assert (root / "shop/main.py").read_text() == line
    assert files(root) == before


WAITS = (
    F
    + "app = FastAPI()\nif 'scheduler_router' in globals():\n    import os, pathlib, subprocess, sys, threading\n"
    "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "    pathlib.Path('pids').write_text(f'{os.getpid()} {child.pid} ')\n    threading.Event().wait()\n"
)


def killed_in_its_trial(root: Path, number: int) -> list[psutil.Process]:
    """Signal the command once its trial has begun; return the trial's processes: the app's, and its child."""
    command = [sys.executable, "-c", "from targcc_gen.cli import main; main()", "patch"]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL)
    try:
        pids = root / "pids"
        wait_until(lambda: pids.is_file() and pids.read_text().endswith(" "))
        trial = [psutil.Process(int(pid)) for pid in pids.read_text().split()]
        os.kill(process.pid, number)
        process.wait(60)
    finally:
        process.kill()
    return trial


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)  # poll interval


def are_gone(processes: list[psutil.Process]) -> bool:
    return all(map(is_gone, processes))


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGHUP", marks=pytest.mark.soak)])
def test_told_to_stop_in_its_trial_everything_is_as_it_was(tmp_path: Path, name: str):
    root = project(tmp_path, main=WAITS)
    before = files(root)

    trial = killed_in_its_trial(root, getattr(signal, name))

    wait_until(lambda: are_gone(trial))
    assert files(root) - {"pids"} == before
    assert (root / "shop/main.py").read_text() == WAITS


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such signal")
def test_killed_in_its_trial_the_patch_is_marked_and_tried_again(tmp_path: Path):
    root = project(tmp_path, main=WAITS)

    trial = killed_in_its_trial(root, signal.SIGKILL)

    wait_until(lambda: are_gone(trial))
    assert (root / ".targcc/untried").is_file()
    text = (root / "shop/main.py").read_text()
    (root / "shop/main.py").write_text(text.replace("threading.Event().wait()", "pass"))
    output = run(root)
    assert "app has the scheduler already" in output
    assert "verified  shop.main:app starts" in output
    assert not (root / ".targcc/untried").exists()
