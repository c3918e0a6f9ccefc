"""Commands sent to a server over real sockets print the same as against a local database."""

import contextlib
import json
import re
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse
from starlette.routing import Route
from targcc_scheduler import Settings, create_app
from targcc_scheduler.cli.main import main
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.project import current
from threads import serving

CAUSE = fingerprint_of("DailyReport", "ValueError: no card 7").key
TOKENS = ("admin", "viewer")
READING = [
    ["job", "list"],
    ["job", "info", "dailyreport"],
    ["job", "history"],
    ["job", "history", "DailyReport", "--limit", "1"],
    ["job", "stats", "DailyReport"],
    ["run", "list", "job:daily*"],
    ["run", "list", "--state", "failed", "--limit", "1"],
    ["run", "show", "1"],
    ["why", "DailyReport"],
    ["why", "1"],
    ["inbox", "list"],
    ["inbox", "show", CAUSE],
    ["bulk", "list"],
    ["override", "list"],
    ["override", "code", "DailyReport"],
    ["queue", "list"],
    ["server", "list"],
    ["release", "list"],
    ["owner", "list"],
    ["audit"],
    ["audit", "verify"],
    ["session", "list"],
    ["user", "list"],
    ["upcoming", "--queue", "default"],
    ["timeline", "--since", "2026-11-25T00:00", "--job", "dailyreport"],
    ["heatmap", "--weeks", "1"],
    ["job", "trend", "DailyReport"],
    ["run", "log", "1"],
    ["calendar", "list"],
    ["maintenance", "list", "--all"],
    ["webhook", "list"],
    ["limits"],
    ["batch", "list"],
    ["flow", "list"],
]
CHANGING = [
    ["job", "run", "MailUser", "--arg", "user_id=3"],
    ["job", "pause", "SyncStock", "--reason", "moving house"],
    ["job", "resume", "SyncStock"],
    ["run", "retry", "1"],
    ["run", "cancel", "2"],
    ["queue", "pause", "default", "--reason", "the ledger is down"],
    ["queue", "resume", "default"],
    ["override", "set", "DailyReport", "--queue", "critical", "--reason", "month end", "--yes"],
    ["override", "reset", "DailyReport", "queue"],
    ["backfill", "SyncStock", "--since", "2026-11-24T00:00", "--until", "2026-11-24T01:00", "--dry-run"],
    ["inbox", "assign", CAUSE, "dana"],
    ["inbox", "discard", CAUSE],
    ["bulk", "do", "cancel", "job:mail*", "--dry-run"],
    ["owner", "set", "DailyReport", "old", "--reason", "looking on"],
    ["session", "end", "--user", "nobody"],
    ["maintenance", "plan", "--from", "2030-01-05T22:00", "--until", "2030-01-06T04:00", "--reason", "new switch"],
    ["maintenance", "end", "1"],
    ["maintenance", "start", "--until", "2031-01-01T00:00", "--queue", "critical", "--reason", "new disk"],
    ["queue", "list"],
    ["maintenance", "list"],
    ["job", "run", "SyncStock", "--retries", "2"],
]  # fmt: skip
REFUSED = [
    ["job", "info", "DailyRepotr"],
    ["job", "run", "MailUser"],
    ["run", "show", "99"],
    ["run", "cancel", "2"],
    ["run", "list", "sate:x"],
    ["queue", "pause", "nix"],
    ["bulk", "show", "7"],
    ["server", "drain", "nowhere"],
    ["run", "log", "99"],
    ["timeline", "--for", "72h"],
    ["calendar", "show", "nix"],
    ["maintenance", "end", "9"],
    ["maintenance", "start", "--until", "2020-01-01T00:00", "--reason", "late"],
    ["webhook", "create", "nowhere"],
    ["webhook", "deliveries", "7"],
    ["batch", "show", "9"],
    ["flow", "show", "9"],
    ["limits", "DailyRepotr"],
]


def call(*words: str, status: int = 0, text: str | None = None) -> Result:
    result = CliRunner().invoke(main, words, input=text, prog_name="targcc")
    assert result.exit_code == status, result.output
    return result


@dataclass
class Twins:
    """Two equal databases: a local database and a database behind a server."""

    here: dict[str, str]
    there: dict[str, str]

    def at(self, words: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, words, env=environment, prog_name="targcc")
        return result.exit_code, plain(result.stdout), plain(result.stderr)

    def same(self, words: list[str]) -> tuple[int, str, str]:
        """Run a command against both databases, require equal results, and return the result."""
        here, remote = self.at(words, self.here), self.at(words, self.there)
        assert here == remote, words
        return here


def plain(text: str) -> str:
    """Replace times, relative times and names, which differ between the two databases."""
    text = re.sub(r"\b\d\d:\d\d(:\d\d)?\b|\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)", "TIME", text)
    text = re.sub(r"\((?:[^()]* ago|in [^()]*|now)\)|just now", "(RELATIVE)", text)
    text = re.sub(r"(?:CLI|API) \([^)]*\)|\b[0-9a-f]{64}\b", "SOMEBODY", text)
    text = re.sub(r'("sentence": ")\S+ (.+) (?:through the API|at the command line)', r"\1\2", text)
    text = re.sub(r'"remote": "127.0.0.1"', '"remote": null', text)
    return re.sub(r" +|(?<=SOMEBODY) *(?:TIME|127.0.0.1)?\n", " ", text)


def seed(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        at = "2026-11-25 08:00:00.000000"
        db.execute(
            "INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, StartedAt, CompletedAt, TriggeredBy, Message, Cause)"
            f" VALUES ('DailyReport', 'Manual', 'failed', 'default', '{at}', '{at}', '{at}', '{at}', 'System', 'ValueError: no card 7', '{CAUSE}')"
        )
        db.execute(
            "INSERT INTO c_JobFailure (Cause, JobName, Kind, Message, FirstAt)"
            f" VALUES ('{CAUSE}', 'DailyReport', 'ValueError', 'no card <n>', '{at}')"
        )
        db.execute(
            "INSERT INTO c_LoggedJob (JobName, JobId, JobType, StartedAt, CompletedAt, DurationMs, Success, ErrorMessage, CreatedAt, Attempt)"
            f" VALUES ('DailyReport', '1', 'Manual', '{at}', '{at}', 5, 0, 'ValueError: no card 7', '{at}', 1)"
        )


@pytest.fixture
def twins(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Twins]:
    monkeypatch.setenv("TARGCC_PROFILES", str(tmp_path / "profiles.toml"))
    here, remote = tmp_path / "here.db", tmp_path / "there.db"
    shutil.copy(empty_database, here)
    seed(here)
    tokens = {}
    for role in TOKENS:
        made = CliRunner().invoke(
            main,
            ["token", "create", f"{role}-program", "--role", role, "--quiet"],
            env={"TARGCC_DATABASE_URL": f"sqlite:///{here}"},
        )
        tokens[role] = made.stdout.strip()
    shutil.copy(here, remote)
    app = create_app(Settings(database_url=f"sqlite:///{remote}"))
    app.state.targcc_work = False
    with serving(app) as address:
        server = {"TARGCC_SERVER": f"http://{address}/jobs", "TARGCC_TOKEN": tokens["admin"]}
        monkeypatch.setenv("VIEWER_TOKEN", tokens["viewer"])
        yield Twins({"TARGCC_DATABASE_URL": f"sqlite:///{here}"}, server)


@pytest.mark.slow
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.soak)])
def test_commands_say_at_a_server_what_they_say_here(
    twins: Twins, step: int, monkeypatch: pytest.MonkeyPatch
):
    for words in READING[::step]:
        assert twins.same(words)[0] == 0, words
        status, output, _ = twins.same([*words, "--json"])
        assert status == 0
        assert isinstance(json.loads(re.sub(r"\bTIME\b", "0", output)), list | dict)
    for words in CHANGING[::step]:
        assert twins.same(words)[0] == 0, words
    for words in REFUSED[::step]:
        status, _, output = twins.same(words)
        assert (status, output[:7]) == (2, "error[T"), words
    assert "did you mean 'DailyReport'?" in twins.same(REFUSED[0])[2]
    files = [twins.at(["audit", "export"], where)[1] for where in (twins.here, twins.there)]
    assert [file.count("SOMEBODY") for file in files] == [files[0].count("SOMEBODY")] * 2
    assert files[0].startswith("id,at,actor,action,job")
    status, _, output = twins.same(["run", "watch", "1"])
    assert status == 1  # the run failed
    assert "DailyReport attempt 1 failed after 5 ms" in output
    assert "ValueError: no card 7" in output
    for where in (twins.here, twins.there):
        _, made, _ = twins.at(["webhook", "create", "https://example.com/s3cret", "--json"], where)
        assert json.loads(made)["secret"].startswith("whsec_")
    for words in (["test"], ["deliveries"], ["redeliver", "1"], ["disable"], ["enable"]):
        assert twins.same(["webhook", words[0], "1", *words[1:]])[0] == 0
    assert "https://example.com/" in twins.same(["webhook", "list"])[1]
    assert twins.same(["webhook", "delete", "1", "--json"])[0] == 0
    monkeypatch.setattr("targcc_scheduler.cli.transport._MOST", 1)  # one page per row
    _, listed, _ = twins.same(["audit", "--json", "--limit", "3"])
    assert len({run["id"] for run in json.loads(re.sub(r"\bTIME\b", "0", listed))}) == 3


@pytest.mark.slow
def test_a_profile_is_kept_for_its_owner_alone_and_may_refer_to_the_token(
    twins: Twins, tmp_path: Path
):
    server = twins.there["TARGCC_SERVER"]
    added = call("profile", "add", "shop", server, "--token", "${VIEWER_TOKEN}", "--use")
    assert added.stdout == f"shop is {server}; commands go to {server}\n"
    file = tmp_path / "profiles.toml"
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "tgc_" not in file.read_text(encoding="utf-8")
    assert "DailyReport" in call("job", "list").stdout
    refused = call("job", "run", "DailyReport", status=2).stderr
    assert "this needs the role operator; viewer-program is viewer" in refused
    assert f"{server} says so" in refused
    stranger = call("--token", "tgc_other", "job", "list", status=2).stderr
    assert (
        "the token is unknown, was revoked or has expired; make one with: targcc token create NAME"
        in stranger
    )
    nobody = call("--server", server, "job", "list", status=2).stderr
    assert "send a token in the header Authorization, as Bearer TOKEN; make one" in nobody
    assert "give one with --token, TARGCC_TOKEN or a profile" in nobody
    local_only = call("migrate", status=2).stderr
    assert f"targcc migrate works where the project's database is, not at {server}" in local_only
    assert "--profile local" in local_only
    for words in (["doctor"], ["user", "add", "noam"], ["user", "password", "noam"]):
        refused = call(*words, status=2)
        assert "works where the project's database is" in refused.stderr
        assert refused.stdout == ""  # refused before any prompt
    result = CliRunner().invoke(main, ["--profile", "local", "job", "list"], env=twins.here)
    assert result.exit_code == 0
    listed = json.loads(call("profile", "list", "--json").stdout)
    assert [(profile["name"], profile["in_use"]) for profile in listed] == [
        ("local", False),
        ("shop", True),
    ]
    call("profile", "use", "local")
    call("profile", "remove", "shop")
    assert "there is no profile 'shop': local" in call("profile", "use", "shop", status=2).stderr
    answer = call("profile", "add", "typed", server, text="tgc_secret\n")
    assert "tgc_secret" not in answer.output + call("profile", "list").stdout


def test_the_page_says_of_each_command_where_it_works():
    page = Path(__file__).parents[3] / "docs" / "remote.md"
    known = set(re.findall(r"`([a-z-]+)[` ]", page.read_text(encoding="utf-8")))
    context = click.Context(main)
    assert set(main.list_commands(context)) - {"profile", "completion"} - known == set()


def test_a_password_that_nobody_can_type_is_asked_for_in_words(database_url: str, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)
    refused = call("user", "add", "noam", status=2, text="")
    assert "where nobody types, --password-stdin reads it" in refused.stderr


def completed(line: str, **environment: str) -> list[str]:
    """Return the shell completions for the last word of a line."""
    words = line.split(" ")
    variables = {"_TARGCC_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}  # fmt: skip
    result = CliRunner().invoke(main, [], env=variables | environment, prog_name="targcc")
    assert result.stderr == ""
    return [suggestion.partition(",")[2] for suggestion in result.stdout.split()]


def test_names_are_completed_from_the_project_and_from_a_server(twins: Twins):
    nowhere = {"TARGCC_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}
    assert completed("targcc job info da", **nowhere) == ["DailyReport"]
    assert completed("targcc job info da", **twins.there) == ["DailyReport"]
    assert "critical" in completed("targcc queue pause ", **twins.there)
    assert completed("targcc run list --state fa") == ["failed"]
    assert completed("targcc --profile lo") == ["local"]
    assert completed("targcc job info da", TARGCC_SERVER="http://127.0.0.1:1") == []


@pytest.fixture
def _month_end(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = {"steps": {"report": {"job": "DailyReport"}}}
    project = replace(current(), flows={"MonthEnd": flow})
    monkeypatch.setattr("targcc_scheduler.project._configured", project)


@pytest.mark.usefixtures("_month_end")
def test_names_of_flows_are_completed(twins: Twins):
    nowhere = {"TARGCC_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}
    for where in (nowhere, twins.there):
        assert completed("targcc flow start ", **where) == ["MonthEnd"]
        assert completed("targcc flow list --name mo", **where) == ["MonthEnd"]


def test_a_script_for_each_shell_is_printed_or_put_in_its_place(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert "complete" in call("completion", "bash").stdout
    for shell, place in {
        "bash": "data/bash-completion/completions/targcc",
        "zsh": "data/zsh/site-functions/_targcc",
        "fish": "config/fish/completions/targcc.fish",
    }.items():
        output = call("completion", shell, "--install").stdout
        assert str(tmp_path / place) in output
        assert "_TARGCC_COMPLETE" in (tmp_path / place).read_text(encoding="utf-8")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that presses Ctrl-C after the given number of polls."""

    def limit(number: int) -> None:
        left = iter(range(number - 1))

        def sleep(_seconds: float) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        monkeypatch.setattr("targcc_scheduler.cli.output._sleep", sleep)

    return limit


def test_what_is_watched_is_shown_anew_until_ctrl_c(
    database_url: str, looks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("TARGCC_PROFILES", str(tmp_path / "profiles.toml"))
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)
    looks(2)
    lines = call("queue", "list", "--json", "--watch").stdout.split("\n\n")
    assert [len(json.loads(line)) for line in lines if line.strip()] == [2, 2]
    looks(2)
    monkeypatch.setattr("targcc_scheduler.cli.output._is_terminal", lambda: True)
    screens = call("queue", "list", "--watch", "0.5").stdout.split("\x1b[H")
    assert len(screens) == 3  # the clear sequence before the first screen, and two screens
    assert "critical" in screens[2]
    assert screens[2].endswith("\x1b[J")
    assert "no such" in call("run", "show", "9", "--watch", status=2).stderr.replace("there is no", "no such")  # fmt: skip


def stranger(kind: str) -> Starlette:
    """Build a server that is not a scheduler."""
    answers: dict[str, Any] = {
        "page": lambda _: PlainTextResponse("Welcome"),
        "missing": lambda _: JSONResponse({"detail": "Not Found"}, 404),
        "moved": lambda _: RedirectResponse("https://elsewhere.example.com/jobs/api/jobs"),
        "old": lambda _: JSONResponse([{"name": "DailyReport"}]),
    }
    return Starlette(routes=[Route("/{path:path}", answers[kind])])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("page", "does not answer as this release expects"),
        ("missing", "has no /api/jobs: it is an older release, or not the address of a dashboard"),
        ("moved", "sends elsewhere, to https://elsewhere.example.com/jobs/api/jobs"),
        ("old", "Use the targcc of the release that the server has"),
    ],
)
def test_another_server_is_told_in_words(kind: str, said: str):
    with serving(stranger(kind)) as address:
        assert said in call("--server", f"http://{address}", "job", "list", status=2).stderr
        if kind == "page":
            plain_http = call("--server", f"https://{address}", "job", "list", status=2).stderr
            assert "does not speak TLS: is it http:// instead?" in plain_http


def self_signed(folder: Path) -> tuple[str, str]:
    """Write a self-signed certificate for this machine and its key; return both paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    certificate, secret = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain_key = serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, plain_key))
    return str(certificate), str(secret)


def test_a_certificate_is_trusted_if_its_authority_is_named(tmp_path: Path):
    certificate, key = self_signed(tmp_path)
    with serving(stranger("missing"), ssl_certfile=certificate, ssl_keyfile=key) as address:
        server = ("--server", f"https://{address}")
        refused = call(*server, "job", "list", status=2).stderr
        assert f"the certificate of https://{address} cannot be trusted: self-signed" in refused
        assert "--ca FILE" in refused
        trusted = call(*server, "--ca", certificate, "job", "list", status=2).stderr
        assert "has no /api/jobs" in trusted  # the TLS connection succeeds
        http = call("--server", f"http://{address}", "job", "list", status=2).stderr
        assert "cannot be reached" in http or "does not speak HTTP" in http


def test_a_server_that_is_not_there_is_told_in_words():
    message = call("--server", "http://127.0.0.1:1", "job", "list", status=2).stderr
    assert "error[TS901]: http://127.0.0.1:1 cannot be reached: " in message
    assert "is no address" in call("--server", "jobs.example.com", "job", "list", status=2).stderr
    assert (
        "is not set"
        in call(
            "--server",
            "http://127.0.0.1:1",
            "--token",
            "${NO_SUCH_VARIABLE}",
            "job",
            "list",
            status=2,
        ).stderr
    )


def test_every_command_that_shows_something_can_be_watched_and_read_by_programs():
    """Exempt from ``--json``: commands that keep running, print a script or a secret, or prompt before a conversion."""
    plainly: list[str] = []
    watched: list[str] = []

    def walk(command: click.Command, path: list[str]) -> None:
        options = {name for item in command.params for name in item.opts}
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                subcommand = command.get_command(context, name)
                assert subcommand is not None
                walk(subcommand, [*path, name])
        elif "--json" not in options:
            plainly.append(" ".join(path))
        elif "--watch" in options:
            watched.append(" ".join(path))

    walk(main, [])
    assert plainly == [
        *("serve", "dev", "worker", "alert-rules", "docs", "audit export", "token create"),
        *("secret key", "completion", "import-history"),
    ]
    shown = ("list", "show", "info", "history", "stats", "status", "report", "why", "doctor")
    assert {item.split()[-1] for item in watched} >= set(shown)
