"""The demo project with its tables on a SQL Server: its month on the pages, and twenty kills of the active node without the loss of a run."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import acme_history
import httpx
import pytest
import sql_server
import sqlalchemy as sa
from rendered_projects import wait_for
from targcc_gen.demo import DemoProject, free_port, run_targcc, stop
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec
from targcc_gen.sync import apply, make_plan

pytestmark = pytest.mark.sqlserver  # TARGCC_TEST_SQL_SERVER names a server

SPEC = Path(__file__).resolve().parents[2] / "examples" / "acme" / "targcc.yaml"
PASSWORD = "a good long password"
KILLS, EACH = 20, 5
STARTS, TAKES_OVER = 300, 60
"""Limits of the seconds until a process is ready, and until a standby is active."""
CALM = {"HEARTBEAT_SECONDS": "5", "LOST_AFTER_SECONDS": "15", "QUERY_SECONDS": "60"}
"""Settings of the processes: a session's first statements take a while on Babelfish."""
MOST_PAGES = 80
_ARGUMENTS = """
    UPDATE c_JobRun SET ArgumentsJson = '{"customer_id": 7}' WHERE JobName = 'SendWelcomeEmail'
"""  # a run's page links to the form that is filled in with them
_LINK = re.compile(r'href="(/jobs[^"#]*)')


class History:
    """A connection for :mod:`acme_history`."""

    def __init__(self, url: str) -> None:
        self._cursor = sql_server.SQLServer._connect(sa.make_url(url))
        self.lastrowid: int | None = None

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> "History":
        """Execute a statement; keep the id of an inserted row."""
        self._cursor.execute(sql, *parameters)
        if sql.startswith("INSERT INTO c_JobRun"):
            self._cursor.execute("SELECT @@IDENTITY")
            self.lastrowid = int(self._cursor.fetchone()[0])
        return self

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        self._cursor.execute(sql)
        return [tuple(row) for row in self._cursor.fetchall()]

    def close(self) -> None:
        """Close the connection."""
        self._cursor.connection.close()


@pytest.fixture
def project(mssql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoProject:
    """The demo project, on a database with its tables and a user."""
    text = SPEC.read_text(encoding="utf-8").replace("database: sqlite", "database: mssql")
    root = tmp_path / "acme-jobs"
    apply(make_plan(render_project(parse_spec(text), spec_text=text), root))
    variables = {"DATABASE_URL": mssql_url, **CALM}
    for name, value in variables.items():
        monkeypatch.setenv(f"TARGCC_{name}", value)
    made = DemoProject(root, "acme_jobs", Path(sys.executable))
    run_targcc(made, "migrate")
    add = made.command("user", "add", "dana", "--role", "admin", "--password-stdin")
    subprocess.run(add, input=PASSWORD, text=True, cwd=root, env=made.environment(), check=True)
    return made


@pytest.fixture
def tables(project: DemoProject, mssql_url: str) -> Iterator[History]:
    """A connection to the project's tables."""
    del project  # it has made them
    made = History(mssql_url)
    yield made
    made.close()


def test_each_page_of_the_demos_month_opens(project: DemoProject, tables: History):
    acme_history.fill(tables, datetime.now(UTC))
    tables.execute(_ARGUMENTS)
    with servers(project) as start, httpx.Client(timeout=60) as visitor:
        server = start()
        visitor.base_url = server.base.removesuffix("/jobs")
        answer = visitor.post("/jobs/login", data={"name": "dana", "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        waiting, opened = ["/jobs/"], dict[str, int]()
        while waiting and len(opened) < MOST_PAGES:
            path = waiting.pop(0)
            page = visitor.get(path, follow_redirects=True)
            opened[path] = page.status_code
            if page.headers["content-type"].startswith("text/html"):
                links = (link.replace("&amp;", "&") for link in _LINK.findall(page.text))
                waiting += [new for new in dict.fromkeys(links) if _is_new(new, opened, waiting)]
        failed = {path: status for path, status in opened.items() if status != 200}
        assert failed == {}, server.log.read_text(encoding="utf-8")[-5000:]
        assert len(opened) > 30


def _is_new(link: str, *known: Any) -> bool:
    """Return whether a page is of a kind that was opened less than three times."""
    kind = re.sub(r"\d+|=[^&]*", "…", link)
    alike = [
        other for paths in known for other in paths if re.sub(r"\d+|=[^&]*", "…", other) == kind
    ]
    return "live" not in link and link not in alike and len(alike) < 3


@dataclass
class Server:
    """A process of `targcc serve`."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    def call(self, token: str, path: str, body: dict[str, Any]) -> Any:
        """Send a request to the API."""
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{self.base}/api/{path}", json=body, headers=headers, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()

    def is_ready(self) -> bool:
        """Return whether it answers that it is ready."""
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.base}/health/ready", timeout=60).status_code == 200
        return False

    @property
    def base(self) -> str:
        """Return the address of its pages."""
        return f"http://127.0.0.1:{self.port}/jobs"

    def is_active(self) -> bool:
        """Return whether it has become the active node."""
        return "this node is active now" in self.log.read_text(encoding="utf-8")


@contextmanager
def servers(project: DemoProject) -> Iterator[Any]:
    """Yield a function that starts `targcc serve`; stop what is left."""
    made: list[Server] = []

    def start() -> Server:
        log, port = project.root / f"serve-{len(made)}.log", free_port()
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                project.command("serve", "--port", str(port)),
                cwd=project.root,
                env=project.environment(),
                stdout=output,
                stderr=output,
                text=True,
            )
        made.append(Server(process, port, log))
        wait_for(made[-1].is_ready, "the server is ready", STARTS)
        return made[-1]

    try:
        yield start
    finally:
        for server in made:
            stop(server.process)


@pytest.mark.soak
def test_no_run_is_lost_while_the_active_node_is_killed_twenty_times(
    project: DemoProject, tables: History
):
    token = run_targcc(project, "token", "create", "test", "--role", "admin", "--quiet").strip()
    created: list[int] = []
    with servers(project) as start:
        active = start()
        wait_for(active.is_active, "the first node is active", TAKES_OVER)
        standby = start()
        for turn in range(KILLS):
            for number in range(EACH):
                customer = {"arguments": {"customer_id": turn * EACH + number}}
                web = active if number % 2 else standby
                answer = web.call(token, "jobs/SendWelcomeEmail/trigger", customer)
                created.append(answer["run_id"])
            active.process.kill()
            active.process.wait()
            with suppress(
                httpx.TransportError
            ):  # the process has ended; only runs of answered requests must succeed
                created.append(active.call(token, "jobs/Heartbeat/trigger", {})["run_id"])
            created.append(standby.call(token, "jobs/Heartbeat/trigger", {})["run_id"])
            wait_for(standby.is_active, f"turn {turn}: the standby is active", TAKES_OVER)
            active, standby = standby, start()
        listed = ",".join(map(str, created))
        unfinished = (
            f"SELECT COUNT(*) FROM c_JobRun WHERE Id IN ({listed}) AND State <> 'succeeded'"
        )
        wait_for(lambda: tables.rows(unfinished) == [(0,)], "all have succeeded", 3 * TAKES_OVER)
    assert len(set(created)) == KILLS * (EACH + 1)
    found = tables.rows(f"SELECT Id FROM c_JobRun WHERE Id IN ({listed})")
    assert sorted(row[0] for row in found) == sorted(created)
    done = tables.rows(
        f"SELECT JobId FROM c_LoggedJob WHERE Success = 1 AND CAST(JobId AS int) IN ({listed})"
    )
    assert set(Counter(row[0] for row in done).values()) == {1}
    assert len(done) == len(created)
