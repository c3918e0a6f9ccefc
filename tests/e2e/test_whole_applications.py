"""Small whole applications: their tests pass before and after the patch, jobs run beside their routes, and undo restores every file."""

import re
import shutil
import sys
from pathlib import Path

import httpx
import pytest
import served
from click.testing import CliRunner
from targcc_gen.cli import main

APPLICATIONS = Path(__file__).resolve().parents[1] / "data" / "applications"
MADE = {"__pycache__", ".pytest_cache", "app.db", "orders.db", "clinic.db"}


def copied(name: str, root: Path) -> Path:
    shutil.copytree(APPLICATIONS / name, root, ignore=shutil.ignore_patterns(*MADE))
    return root


def go_on(name: str, root: Path) -> None:
    """Add the code that the application's developers write after the patch."""
    ignored = shutil.ignore_patterns(*MADE)
    shutil.copytree(APPLICATIONS / "next" / name, root, ignore=ignored, dirs_exist_ok=True)


def own_tests(root: Path) -> str:
    """Run the application's own tests in a process without anything from this repository."""
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    return served.run(root, *words, "--rootdir", str(root), "tests")


def patch(root: Path, *words: str) -> str:
    result = CliRunner().invoke(main, ["patch", "--project", str(root), *words])
    assert result.exit_code == 0, result.output
    return result.output


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not MADE & set(path.relative_to(root).parts)
    }


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fullstack", ()),
        ("prefixed", ("--prefix", "/ops")),
        ("orders", ()),
        ("desk", ()),
    ],
)
def test_its_own_tests_pass_before_and_after(name, words, tmp_path):
    root = copied(name, tmp_path / name)
    before = contents(root)
    assert " passed" in own_tests(root)
    assert contents(root) == before

    output = patch(root, "--require-verified", *words)
    assert "starts, a job ran, and the pages answer" in output
    passed = own_tests(root)
    assert passed.split(" in ")[0] == own_tests(root).split(" in ")[0]
    new = contents(root).keys() - before.keys()
    assert len(new) <= 12
    # the scheduler did not run
    assert not [path for path in root.rglob("*.db") if path.name not in MADE]

    patch(root, "--undo")
    assert contents(root) == before
    assert " passed" in own_tests(root)


@pytest.mark.soak
@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run there")
def test_of_four_web_processes_all_enqueue_and_one_worker_schedules(tmp_path):
    """Start the server that the application's Procfile names."""
    root = copied("desk", tmp_path / "desk")
    patch(root, "--require-verified")
    go_on("desk", root)
    assert "2 passed" in own_tests(root)
    port, database = served.free_port(), root / "desk.db"
    command = (root / "Procfile").read_text(encoding="utf-8").removeprefix("web: ").strip()
    processes: set[int] = set()

    def ask() -> bool:
        answer = httpx.post(f"http://127.0.0.1:{port}/tickets", params={"text": "help"}, timeout=30)
        assert answer.status_code == 200, answer.text
        processes.add(answer.json()["process"])
        return len(processes) == 4

    def answered() -> list[int]:
        wanted = "SELECT count(*) FROM c_JobRun WHERE JobName = 'Answer' AND State {} 'succeeded'"
        return [
            served.rows(database, wanted.format(comparison))[0][0] for comparison in ("=", "<>")
        ]

    with served.process(root, f"-m {command} --bind 127.0.0.1:{port}", TARGCC_MODE="pages"):
        served.until(lambda: served.answers(f"http://127.0.0.1:{port}/jobs/health/ready"), "pages")
        served.until(ask, "each of four processes has created a run")
        done, waiting = answered()
        assert (done, waiting >= 4) == (0, True)
        with served.process(root, "-m targcc_scheduler --project desk worker"):
            served.until(lambda: answered() == [waiting, 0], "all are answered")
            slots = (
                "SELECT ScheduledFor, count(*) FROM c_LoggedJob WHERE JobName = 'Remind' GROUP BY 1"
            )
            served.until(lambda: len(served.rows(database, slots)) >= 4, "four slots")
            assert {count for _, count in served.rows(database, slots)} == {1}
            assert len(served.rows(database, "SELECT Id FROM c_JobServer")) == 1
    log = (root / "log.txt").read_text(encoding="utf-8")
    assert not re.search(r"Traceback|ERROR", log), log


@pytest.mark.soak
def test_an_application_of_django(tmp_path):
    """The application is wrapped and tried; then the application enqueues within its transactions, and a job uses its models."""
    root = copied("clinic", tmp_path / "clinic")
    before = contents(root)
    assert "1 passed" in own_tests(root)

    output = patch(root, "--require-verified")
    assert 'application = with_scheduler(application, "/jobs")' in output
    assert "starts, a job ran, and the pages answer" in output
    assert "1 passed" in own_tests(root)
    patch(root, "--undo")
    assert contents(root) == before

    patch(root)
    go_on("clinic", root)
    assert "2 passed" in own_tests(root)
    served.run(root, "manage.py", "migrate", "-v", "0")
    assert "Remind" in served.run(root, "manage.py", "targcc", "job", "list")
    port = served.free_port()
    with served.process(root, f"-m uvicorn clinic.asgi:application --port {port}"):
        at = f"http://127.0.0.1:{port}"
        served.until(lambda: served.answers(f"{at}/jobs/health/ready"), "the pages")
        assert httpx.post(f"{at}/visits?patient=nobody", timeout=30).status_code == 409
        assert httpx.post(f"{at}/visits?patient=Dana", timeout=30).status_code == 200
        served.until(
            lambda: httpx.get(f"{at}/visits", timeout=30).json() == {"Dana": True},
            "Dana is reminded",
        )
        runs = "SELECT count(*) FROM c_JobRun WHERE JobName = 'Remind'"
        assert served.rows(root / "clinic.db", runs) == [(1,)]
    log = (root / "log.txt").read_text(encoding="utf-8")
    assert not re.search(r"Traceback|ERROR", log), log
