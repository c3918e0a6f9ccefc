"""Forty kinds of secrets in twenty kinds of failure; search every output byte: database, logs, mails, commands."""

import asyncio
import base64
import html
import io
import json
import logging
import re
import shlex
import subprocess
import urllib.parse
from pathlib import Path

import httpx
import pydantic
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from pydantic import SecretStr
from rt_tools import until
from targcc_scheduler import Actor, ActorKind, JobResult, Settings, job
from targcc_scheduler.cli.log_setup import JsonFormatter
from targcc_scheduler.cli.log_structlog import configure_structlog
from targcc_scheduler.cli.main import main
from targcc_scheduler.core import masking, secrets
from targcc_scheduler.core.secrets import resolve

DANA = Actor(ActorKind.MANUAL, "dana")
SHAPES = {
    "plain": "Zx9plain{n}kQ7wVb2",
    "slash": "a/b+c=d{n}/e?f&g#h",
    "quotes": 'it\'s "q{n}" \\ back',
    "unicode": "pässwörd{n}-日本語",
    "spaces": "Korrekt Pferd {n} Batterie",
    "percent": "100%s%{n}d%%{{}}%41",
    "brackets": "[x{n}]{{y}}<z>&amp;",
    "base64": "qL0r+{n}/Zm9vYmFyYg==",
    "key": "-----BEGIN KEY-----\nMIIEvQIBADANB{n}gkqhkiG9w0\nBAQEFAASC{n}BKcwggSj\n-----END KEY-----",
    "control": "tab\tin{n}\x01side\x7f",
}
SOURCES = ("setting", "environment", "reference", "argument")
SECRETS = {
    (shape, source): text.format(n=f"{place}{number}")
    for number, (shape, text) in enumerate(SHAPES.items(), start=11)
    for place, source in enumerate(SOURCES, start=3)
}
"""Forty secrets: ten shapes, and four ways in which the process learns them."""


def forms(value: str) -> list[str]:
    """Return the searched forms of a value; independent of the product's masking code."""
    raw = value.encode()
    quoted = urllib.parse.quote(value, safe="")
    return [
        value,
        quoted,
        re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted),
        urllib.parse.quote(value),
        urllib.parse.quote_plus(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(value)[1:-1])[1:-1],
        repr(value)[1:-1],
        repr(raw)[2:-1],
        html.escape(value),
        shlex.quote(value).strip("'"),
        value.replace("'", "''"),
        raw.hex(),
    ]


def fragments(value: str) -> list[str]:
    """Return the middle of the value's base64 text at each of three offsets, without the letters that depend on neighbours."""
    raw = value.encode()
    return [
        base64.b64encode(b"user:"[: 3 + shift] + raw).decode()[8 : 6 + (len(raw) - 1) * 8 // 6 - 2]
        for shift in range(3)
    ]


def written(value: str) -> str:
    """Return all forms in one text, as a job might write them."""
    raw = value.encode()
    whole = base64.b64encode(raw).decode()
    basic = base64.b64encode(b"user:" + raw).decode()
    odd = base64.urlsafe_b64encode(b"u:" + raw).decode()
    return " | ".join([*forms(value), whole, basic, odd, f"https://u:{urllib.parse.quote(value, safe='')}@h/"])  # fmt: skip


FAILURES = {}


def failure(function):
    FAILURES[function.__name__] = function
    return function


@failure
def raised(_ctx, text):
    raise RuntimeError(text)


@failure
def key_error(_ctx, text):
    raise KeyError(text)


@failure
def chained(_ctx, text):
    try:
        raise ValueError(text)  # noqa: TRY301 - as a job may do it
    except ValueError as error:
        raise RuntimeError("while signing in") from error


@failure
def in_a_group(_ctx, text):
    raise ExceptionGroup(text, [ValueError(text), OSError(5, text)])


@failure
def with_notes(_ctx, text):
    error = RuntimeError("no answer")
    error.add_note(text)
    raise error


@failure
def returned(_ctx, text):
    return JobResult.failure(text)


@failure
def returned_with_exception(_ctx, text):
    return JobResult.failure("it failed", ConnectionError(text), retry=False)


@failure
def metadata(_ctx, text):
    return JobResult.failure("see there").with_metadata(sent=text, deep={"a": [{"b": text}]})


@failure
def metadata_key(_ctx, text):
    return JobResult.failure("see there").with_metadata(**{text: 1, "raw": text.encode()})


@failure
def job_log(ctx, text):
    ctx.log.info(text)
    raise RuntimeError("see the log")


@failure
def job_log_values(ctx, text):
    ctx.log.warning("request", url=text, headers={"Authorization": text})
    raise RuntimeError("see the log")


@failure
def job_log_exception(ctx, text):
    try:
        raise ValueError(text)  # noqa: TRY301 - as a job may do it
    except ValueError:
        ctx.log.exception("it failed")
    raise RuntimeError("see the log")


@failure
def process_log_line(_ctx, text):
    logging.getLogger("acme").error("calling %s", text, extra={"request": {"url": [text]}})
    raise RuntimeError("see the log of the process")


@failure
def process_log_exception(_ctx, text):
    try:
        raise ValueError(text)  # noqa: TRY301 - as a job may do it
    except ValueError:
        logging.getLogger("acme").exception("it failed", stack_info=True)
    raise RuntimeError("see the log of the process")


@failure
def database_parameters(_ctx, text):
    engine = sa.create_engine("sqlite://", hide_parameters=False)  # the job's own engine
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT :a FROM nowhere"), {"a": text})


@failure
def validation(_ctx, text):
    pydantic.TypeAdapter(dict[str, int]).validate_python({"a": text, text: 1})


@failure
def request(_ctx, text):
    url = httpx.URL("https://example.com/", params={"q": text})
    raise httpx.ConnectError(f"no answer from {url}", request=httpx.Request("GET", url))


@failure
def command_line(_ctx, text):
    raise subprocess.CalledProcessError(2, ["curl", "-u", text, "https://example.com"], text)


@failure
def assertion(_ctx, text):
    assert text == "another", f"{text!r} is not another"


@failure
def very_long(_ctx, text):
    raise RuntimeError("x" * 3_950 + text * 40)


NOTHING = SecretStr("")


@job(retries=0)
async def leaky(ctx, how: str, shape: str, source: str, given: SecretStr = NOTHING):
    value = given.get_secret_value() or SECRETS[shape, source]
    return FAILURES[how](ctx, written(value))


@pytest.fixture
def known_values(tmp_path, monkeypatch):
    """A process that has learnt forty secrets."""
    monkeypatch.setattr(masking, "KNOWN", masking.KnownSecrets())
    for module in (
        "core.secrets",
        "core.masking",
        "kernel.jobs.arguments",
        "core.secrets",
    ):
        monkeypatch.setattr(f"targcc_scheduler.{module}.KNOWN", masking.KNOWN)
    monkeypatch.setattr(secrets.SEALS, "_keys", ())
    monkeypatch.setenv("TARGCC_SECRET_KEY", secrets.new_key())
    monkeypatch.chdir(tmp_path)
    for (shape, source), value in SECRETS.items():
        if source == "setting":
            Settings(database_url="sqlite:///x.db", smtp_password=value)
        elif source == "reference":
            (tmp_path / shape).write_text(value, encoding="utf-8")
            resolve(f"file:{tmp_path / shape}")
        elif source == "environment":
            monkeypatch.setenv(f"ACME_{shape.upper()}_PASSWORD", value.replace("\0", ""))
    Settings(database_url="sqlite:///x.db")
    yield
    secrets.SEALS._box = None


@pytest.fixture
def process_log():
    """Capture the process log as JSON and as for a terminal."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers = []
    for formatter in (
        JsonFormatter(),
        configure_structlog(as_json=True, colors=False),
        configure_structlog(as_json=False, colors=False),
    ):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        handlers.append(handler)
        root.addHandler(handler)
    yield stream
    for handler in handlers:
        root.removeHandler(handler)


def said(command):
    return CliRunner().invoke(main, command).output


async def leak_all(scheduler, database, log, chosen, monkeypatch):
    """Run the failures, then search all output."""
    runs = []
    for (shape, source), how in chosen:
        arguments = {"how": how, "shape": shape, "source": source}
        if source == "argument":
            arguments["given"] = SECRETS[shape, source]
        runs.append(await scheduler.enqueue(leaky, by=DANA, **arguments))
    await until(lambda: len(database.rows("SELECT * FROM c_LoggedJob")) == len(runs), seconds=120)
    assert len(database.rows("SELECT * FROM c_LoggedJob WHERE Success = 0")) == len(runs)
    monkeypatch.setenv("TARGCC_DATABASE_URL", database.url)
    out = [log.getvalue()]
    for run in runs[:: len(runs) // 20]:
        shown = [["run", "show", str(run)], ["run", "show", str(run), "--json"]]
        out += [await asyncio.to_thread(said, command) for command in shown]
    out.extend(
        path.read_bytes().decode("latin-1")
        for path in Path(database.path).parent.glob("jobs.db*")
        if path.is_file()
    )
    return out


def leaks(out: list[str]) -> list[tuple[str, str, str]]:
    leaked_forms = []
    texts = [*out, *(text.encode("latin-1", "replace").decode("utf-8", "replace") for text in out)]
    for (shape, source), value in SECRETS.items():
        wanted = {
            *forms(value),
            *fragments(value),
            *(line for line in value.splitlines() if len(line) > 20 and "---" not in line),
        }
        leaked_forms += [
            (shape, source, form)
            for form in wanted
            if len(form) > 7 and any(form in text for text in texts)
        ]
    return leaked_forms


CROSS = [((shape, source), how) for shape, source in SECRETS for how in FAILURES]


@pytest.mark.slow
@pytest.mark.usefixtures("known_values")
async def test_no_byte_of_a_secret_comes_out(scheduler, database, process_log, monkeypatch):
    chosen = [CROSS[at] for at in range(0, len(CROSS), 13)]  # covers every secret and every failure
    assert ({secret for secret, _ in chosen}, {how for _, how in chosen}) == (
        set(SECRETS),
        set(FAILURES),
    )
    out = await leak_all(scheduler, database, process_log, chosen, monkeypatch)
    assert sum(map(len, out)) > 100_000
    assert "triggered_by" in "".join(out)
    assert leaks(out) == []


@pytest.mark.soak
@pytest.mark.usefixtures("known_values")
async def test_no_byte_of_any_secret_comes_out_by_any_failure(
    scheduler, database, process_log, monkeypatch
):
    out = await leak_all(scheduler, database, process_log, CROSS, monkeypatch)
    assert leaks(out) == []
