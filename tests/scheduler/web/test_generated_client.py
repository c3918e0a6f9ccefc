"""Clients generated from the API's description, and every allowed request, against a server."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from targcc_scheduler import Settings, create_app
from targcc_scheduler.cli.main import main
from targcc_scheduler.web import openapi
from targcc_scheduler.web.addresses import routers
from targcc_scheduler.web.api.router import PARTS
from threads import serving


@dataclass
class Served:
    """Served API: its address, and the file with its description."""

    address: str
    token: str
    file: Path


@pytest.fixture
def served(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)
    words = ["token", "create", "ci", "--role", "admin", "--quiet"]
    token = CliRunner().invoke(main, words).stdout.strip()
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps({**openapi.schema(), "servers": [{"url": "/"}]}), encoding="utf-8")
    app = create_app(Settings(database_url=database_url))
    app.state.targcc_work = False
    with serving(app) as address:
        yield Served(f"http://{address}", token, file)


def program(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False, timeout=400,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.soak
def test_a_generated_client_lists_starts_and_reads(served: Served, tmp_path: Path, monkeypatch):
    words = ("--path", str(served.file), "--output-path", "made_client", "--meta", "none")
    program("openapi_python_client", "generate", *words, cwd=tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    made: Any = importlib.import_module("made_client")
    models: Any = importlib.import_module("made_client.models")
    with made.AuthenticatedClient(base_url=served.address, token=served.token) as client:

        def ask(group: str, operation: str, **options: Any) -> Any:
            return importlib.import_module(f"made_client.api.{group}.{operation}").sync(
                client=client, **options
            )

        assert "MailUser" in [item.name for item in ask("jobs", "list_jobs")]
        wish = models.TriggerIn.from_dict({"arguments": {"user_id": 3}})
        begun = ask("jobs", "trigger_job", name="MailUser", body=wish)
        run = ask("runs", "get_run", run_id=begun.run_id)
        assert (run.job, run.state.value, run.arguments["user_id"]) == ("MailUser", "enqueued", 3)
        page = ask("runs", "list_runs", limit=1)
        assert [item.id for item in page.runs] == [begun.run_id]
        wrong = ask("runs", "get_run", run_id=99)
        assert (wrong.type_, wrong.status) == ("urn:targcc:problem:no-such-run", 404)
        refused = ask("jobs", "trigger_job", name="MailUser", body=models.TriggerIn())
        assert refused.detail == "user_id: field required"


@pytest.mark.soak
def test_whatever_the_description_allows_is_answered_as_it_says(served: Served, tmp_path: Path):
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    output = program(
        "schemathesis.cli", "run", str(served.file), "--url", served.address,
        "-H", f"Authorization: Bearer {served.token}", "--checks", checks, "--max-examples", "1",
        "--phases", "examples,fuzzing", "--seed", "1", "--no-color", "--suppress-health-check", "all",
        cwd=tmp_path,
    )  # fmt: skip
    assert "Tested:" in output


def test_examples_fit_what_they_are_examples_of():
    schema = openapi.schema()
    tried = 0
    for name, described in schema["components"]["schemas"].items():
        if "example" in described:
            rules = {**described, "components": schema["components"]}
            assert list(Draft202012Validator(rules).iter_errors(described["example"])) == [], name
            tried += 1
        for field, definition in described.get("properties", {}).items():
            for example in definition.get("examples", ()):
                rules = {**definition, "components": schema["components"]}
                assert list(Draft202012Validator(rules).iter_errors(example)) == [], (name, field)
                tried += 1
    assert tried > 15
    ids = [
        definition["operationId"]
        for methods in schema["paths"].values()
        for definition in methods.values()
    ]
    assert len(ids) == len(set(ids))
    bodies = {
        definition["requestBody"]["content"]
        .get("application/json", {"schema": {}})["schema"]
        .get("$ref", "")
        for methods in schema["paths"].values()
        for definition in methods.values()
        if "requestBody" in definition
    } - {""}
    for ref in bodies:
        assert "example" in schema["components"]["schemas"][ref.rpartition("/")[2]], ref


def test_a_command_finds_the_router_of_each_address_at_once():
    for part in PARTS:
        for route in part.routes:
            first = routers(route.path)[0]
            assert first == f"{route.endpoint.__module__}:router", route.path
