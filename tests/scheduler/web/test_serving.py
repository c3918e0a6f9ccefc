import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from guarantee_rig import Ledger
from projects import PATH
from targcc_scheduler import Settings
from web_fixtures import PASSWORD

Command = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Iterator[Command]:
    """Return a function that starts ``targcc``; end remaining processes at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "web_jobs", *arguments],
            cwd=tmp_path,
            env=os.environ
            | {
                "PYTHONPATH": PATH,
                "PYTHONUNBUFFERED": "1",
                "PYTHONIOENCODING": "utf-8",
                "TARGCC_DATABASE_URL": database_url,
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def lines_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """Return the output lines of a process up to the first line that begins with ``wanted``."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith(wanted):
            return lines
    raise AssertionError("\n".join(lines))


def opened(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return answer.status, answer.url
    except urllib.error.HTTPError as error:
        return error.code, address


@pytest.mark.usefixtures("processes")
def test_serve_says_where_to_go_or_that_its_port_is_taken_and_ends_well(command: Command):
    process = command("serve", "--port", "0")
    lines = lines_until(process, "Open")
    lines_by_word = {line.split()[0]: line for line in lines if line[:1].isalpha()}
    assert re.match(
        r"Database {2}(sqlite|mssql)://\S+ {2}\(migrated to \d{4}\)$", lines_by_word["Database"]
    )
    assert lines_by_word["Jobs"] == "Jobs      4 found in web_jobs.jobs, 1 broken"
    assert any(re.search(r"broken_import.py:\d+  ModuleNotFoundError", line) for line in lines)
    link = lines_by_word["Open"].split()[1]
    assert re.match(r"http://127\.0\.0\.1:\d+/jobs/login\?token=[\w-]{43}$", link)
    assert "works once, for 10 minutes; then: targcc user add NAME" in lines_by_word["Open"]
    site = link.partition("/jobs")[0]
    assert opened(f"{site}/health/ready")[0] == 200
    assert opened(link)[1].endswith(
        "/jobs/login"
    )  # without cookies the page asks for the sign-in again
    assert opened(link)[0] == 403
    says_that_a_port_is_taken(command, site.rpartition(":")[2])
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def says_that_a_port_is_taken(command: Command, port: str) -> None:
    second = command("serve", "--port", port)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert f"error[TS609]: cannot listen at 127.0.0.1 port {port}" in output
    assert "--port" in output


VANISHING = """
import os
from urllib.parse import urlsplit
from targcc_scheduler.web.router import create_app

url = os.environ["TARGCC_DATABASE_URL"]
if url.startswith("sqlite"):
    file = url.removeprefix("sqlite:///")
    os.remove(file)
    os.mkdir(file)
else:
    import psycopg
    name = urlsplit(url).path.strip("/")
    with psycopg.connect(urlsplit(url)._replace(path="/postgres").geturl(), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
app = create_app()
"""
"""App at whose import the database goes away."""


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_that_is_lost_while_serve_starts_is_one_message(
    command: Command, tmp_path: Path, kind: str, request: pytest.FixtureRequest
):
    (tmp_path / "vanishing.py").write_text(VANISHING, encoding="utf-8")
    url = f"sqlite:///{tmp_path / 'gone.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    process = command("serve", "--port", "0", "--app", "vanishing:app", TARGCC_DATABASE_URL=url)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 2
    assert output.count("error[TS601]: the database ") == 1
    others = [line for line in output.splitlines() if "broken_import" not in line]
    assert "Traceback" not in "".join(others)


@pytest.mark.usefixtures("processes")
def test_a_worker_refuses_a_queue_that_is_not_there(command: Command):
    process = command("worker", "--queue", "default,nix")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error[TS303]: there is no queue 'nix': default, critical" in output


@pytest.mark.usefixtures("processes")
def test_another_address_needs_a_user_first(command: Command):
    refused = command("serve", "--host", "0.0.0.0", "--port", "0")
    output, _ = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert "error[TS608]: not listening at 0.0.0.0: there is no user yet" in output
    assert "targcc user add NAME" in output
    adding = command("user", "add", "dana", "--password-stdin")
    assert adding.communicate(PASSWORD + "\n", timeout=60)[0] == "dana may sign in as admin\n"
    process = command("serve", "--host", "0.0.0.0", "--port", "0")
    greeting = lines_until(process, "Open")[-1]
    assert "token=" not in greeting
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


PROXY, STRANGER = "127.0.0.2", "127.0.0.1"


class Sender:
    """Send requests from one address of this machine."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port

    def ask(self, path: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, str]:
        """Return status and body; a header name has ``_`` for ``-``."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=60, source_address=(self._address, 0)
        )
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        with contextlib.closing(connection):
            body = None if form is None else urllib.parse.urlencode(form)
            connection.request("GET" if form is None else "POST", path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def send(self, path: str, headers: list[tuple[str, str]]) -> int:
        """Return the status of a request with exactly these headers, duplicates included."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=60, source_address=(self._address, 0)
        )
        with contextlib.closing(connection):
            connection.putrequest("GET", path)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            return connection.getresponse().status

    def raw(self, text: str) -> str:
        """Send raw bytes; return everything received until the server closes the connection."""
        server = ("127.0.0.1", self._port)
        with socket.create_connection(server, 60, source_address=(self._address, 0)) as connection:
            connection.sendall(text.encode())
            return b"".join(iter(lambda: connection.recv(65_536), b"")).decode()

    def guess(self, forwarded: str) -> int:
        """Guess a password with a forwarded client address; return the status."""
        form = {"name": "dana", "password": "wrong wrong wrong"}
        return self.ask("/jobs/login", form, X_Forwarded_For=forwarded)[0]


@pytest.mark.usefixtures("processes")
def test_only_a_trusted_proxy_says_who_it_is_and_from_where(command: Command, database_url: str):
    process = command(
        *("serve", "--port", "0"),
        TARGCC_TRUSTED_PROXIES=PROXY,
        TARGCC_PROXY_USER_HEADER="X-Forwarded-User",
        TARGCC_PROXY_GROUPS_HEADER="X-Forwarded-Groups",
        TARGCC_PROXY_ROLES='{"ops": "operator", "staff": "viewer"}',
    )
    match = re.search(r":(\d+)/", lines_until(process, "Open")[-1])
    assert match is not None
    stranger, proxy = Sender(STRANGER, int(match[1])), Sender(PROXY, int(match[1]))

    # A client outside the proxy forges addresses and names: its own address counts, and its name is ignored.
    statuses = [stranger.guess(f"10.0.0.{number}") for number in range(12)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    named: dict[str, str] = {"X_Forwarded_User": "dana", "X_Forwarded_Groups": "ops"}
    for lie in ({}, {"X_Forwarded_For": PROXY}, {"X_Forwarded_For": f"{PROXY}, {PROXY}"}):
        assert stranger.ask("/jobs/api/jobs", **named, **lie)[0] == 401

    # The proxy is trusted: its client address, and the person with the role of the best group.
    assert proxy.guess("10.9.9.9") in {401, 429}
    audit = "SELECT DISTINCT RemoteAddress FROM c_JobAudit WHERE Action = 'sign-in refused'"
    remotes = {row[0] for row in Ledger(database_url).rows(sa.text(audit))}
    assert remotes <= {STRANGER, "10.9.9.9"}
    assert "10.9.9.9" in remotes
    assert proxy.ask("/jobs/api/jobs")[0] == 401
    status, page = proxy.ask("/jobs", X_Forwarded_User="dana", X_Forwarded_Groups="staff, ops")
    assert status == 200
    assert "proxy:dana" in page
    assert "operator" in page
    assert "Sign out" not in page
    assert proxy.ask("/jobs/api/users", **named)[0] == 403  # for admins only
    for odd in ("", "d" * 81, "da\tna"):
        assert proxy.ask("/jobs/api/jobs", X_Forwarded_User=odd, X_Forwarded_Groups="ops")[0] == 401
    assert (
        proxy.ask("/jobs/api/jobs", X_Forwarded_User="dana", X_Forwarded_Groups="sales")[0] == 401
    )

    # A browser's header is never combined with the proxy's own, nor is a header with a similar spelling accepted.
    twice = [("X-Forwarded-Groups", "ops"), ("X-Forwarded-Groups", "staff")]
    assert proxy.send("/jobs/api/jobs", [("X-Forwarded-User", "dana"), *twice]) == 401
    names = [("X-Forwarded-User", "boss"), ("X-Forwarded-User", "dana")]
    assert proxy.send("/jobs/api/jobs", [*names, twice[0]]) == 401
    alike = [("X_Forwarded_User", "boss"), ("X_Forwarded_Groups", "ops")]
    assert proxy.send("/jobs/api/jobs", [*alike, twice[0]]) == 401
    assert proxy.send("/jobs/api/jobs", [*alike, ("X-Forwarded-User", "dana")]) == 401

    # A second request smuggled behind an ambiguous length never counts as the proxy's.
    inner = "GET /jobs/api/jobs HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-User: boss\r\nX-Forwarded-Groups: ops\r\n\r\n"
    both = f"Host: localhost\r\nContent-Length: {len(inner) + 5}\r\nTransfer-Encoding: chunked\r\n"
    answer = proxy.raw(f"POST /jobs/login HTTP/1.1\r\n{both}\r\n0\r\n\r\n{inner}")
    assert answer.startswith("HTTP/1.1 400")
    assert answer.count("HTTP/1.1") == 1

    # A form of another site changes nothing: it lacks the browser's token.
    assert proxy.ask("/jobs/jobs/SyncStock/run", {"csrf": "guess"}, **named)[0] == 403


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"TARGCC_PROXY_DEFAULT_ROLE": "viewer"}, "the addresses of the proxies"),
        (
            {"TARGCC_PROXY_DEFAULT_ROLE": "viewer", "TARGCC_TRUSTED_PROXIES": "*"},
            "the addresses of the proxies",
        ),
        ({"TARGCC_TRUSTED_PROXIES": PROXY}, "proxy_roles or proxy_default_role"),
    ],
)
def test_a_header_that_anybody_could_send_is_not_taken(monkeypatch, settings, why):
    monkeypatch.setenv("TARGCC_PROXY_USER_HEADER", "X-Forwarded-User")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=why):
        Settings(_env_file=None, database_url="sqlite:///jobs.db")


@pytest.mark.usefixtures("processes")
def test_the_log_is_json_when_nobody_reads_it(command: Command):
    process = command("serve", "--port", "0", TARGCC_LOG_FORMAT="json")
    logged = [line for line in lines_until(process, "Open") if line.startswith("{")]
    broken = json.loads(logged[0])
    assert broken["level"] == "error"
    assert "broken_import cannot be used" in broken["event"]
    assert broken["timestamp"]


def call(address: str, token: str, method: str = "GET") -> Any:
    request = urllib.request.Request(address, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.usefixtures("processes")
def test_web_and_worker_in_two_processes(command: Command):
    made = command("token", "create", "ci", "--role", "operator", "--quiet")
    token = made.communicate(timeout=60)[0].strip()
    web = command("serve", "--port", "0", "--no-worker")
    site = lines_until(web, "Open")[-1].split()[1].partition("/jobs")[0]
    assert call(f"{site}/api/servers", token) == []
    worker = command("worker", "--queue", "default")
    assert lines_until(worker, "Queues")[-1] == "Queues    default"
    run_id = call(f"{site}/api/jobs/DailyReport/trigger", token, "POST")["run_id"]
    deadline = time.monotonic() + 30
    while call(f"{site}/api/runs/{run_id}", token)["state"] != "succeeded":
        assert time.monotonic() < deadline
    (server,) = call(f"{site}/api/servers", token)
    assert server["queues"] == ["default"]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert call(f"{site}/api/servers", token) == []


@pytest.mark.parametrize("words", [("worker",), ("serve", "--port", "0")], ids=["worker", "serve"])
def test_the_second_ctrl_c_hands_a_run_back_at_once(
    command: Command, database_url: str, tmp_path: Path, words
):
    ledger = Ledger(database_url)
    jobs = {"TARGCC_JOBS_PACKAGE": "fault_jobs", "NOTES": str(tmp_path / "notes")}
    process = command(*words, TARGCC_SHUTDOWN_GRACE="120", **jobs)
    lines_until(process, "Queues" if words == ("worker",) else "Open")
    output = command("job", "run", "Long", "--json", **jobs).communicate(timeout=60)[0]
    run_id = json.loads(output[output.index("{") :])["run_id"]

    def run() -> tuple[str, int, str]:
        row = ledger.run(run_id)
        return row.State, row.Attempt, row.LifeLog

    waited_for(lambda: run()[0] == "running")
    process.send_signal(signal.SIGINT)
    first = time.monotonic()
    waited_for(lambda: time.monotonic() - first > 0.5)  # signals close together count as one
    assert run()[0] == "running"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    state, attempt, life = run()
    assert (state, attempt) == ("enqueued", 0)
    assert "released: the process is shutting down" in life


def waited_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.soak
def test_slow_clients_hold_neither_health_checks_nor_other_people(command: Command):
    """Two hundred slow connections from many local addresses; another address gets responses all the time."""
    process = command("serve", "--port", "0", TARGCC_CONNECTIONS_PER_ADDRESS="40")
    match = re.search(r":(\d+)/", lines_until(process, "Open")[-1])
    assert match is not None
    port = int(match[1])
    begins = [
        b"GET /jobs HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"POST /jobs/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n",
        b"GET /jobs/login HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200,
        b"",
    ]
    with contextlib.ExitStack() as stack:
        slow = []
        for number in range(200):
            address = (f"127.0.0.{2 + number % 4}", 0)
            client = socket.create_connection(("127.0.0.1", port), 30, source_address=address)
            slow.append(stack.enter_context(client))
            with contextlib.suppress(OSError):  # above the limit of its address
                client.sendall(begins[number // 4 % 4])
            client.setblocking(False)  # noqa: FBT003 - as sockets have it
        left, deadline = set(slow), time.monotonic() + 120
        while left and time.monotonic() < deadline:
            assert opened(f"http://127.0.0.1:{port}/health/live")[0] == 200
            assert opened(f"http://127.0.0.1:{port}/jobs/login")[0] == 200
            left = {client for client in left if _drips(client)}
        assert not left


def _drips(connection: socket.socket) -> bool:
    """Return whether a connection accepts one more byte; the response stays unread."""
    try:
        connection.send(b"a")
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True
