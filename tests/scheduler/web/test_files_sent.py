"""Upload and download files by pages, API and command line."""

import base64
import json
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest
from click.testing import CliRunner
from file_jobs import count_lines, read_file
from targcc_scheduler import Settings
from targcc_scheduler.cli.commands.runs import files_among
from targcc_scheduler.cli.main import main
from targcc_scheduler.kernel.jobs.arguments import parameters_of

pytestmark = pytest.mark.usefixtures("processes")  # some of its jobs run in a process of their own

CSV = b"<script>alert(1)</script>;2\n" * 3


@pytest.fixture
def settings(database_url):
    return Settings(
        database_url=database_url,
        jobs_package="file_jobs",
        heartbeat_seconds=0.1,
        poll_seconds=0.2,
        max_file_bytes=200_000,
    )


async def ended(client, run_id):
    run = (await client.get(f"/api/runs/{run_id}", params={"wait": 30})).json()
    assert run["state"] == "succeeded", run
    return run


async def test_a_program_sends_files_and_fetches_results_within_the_limits(
    busy_site,
):
    client = await busy_site.program("operator")
    content = base64.b64encode(CSV).decode()
    answer = await client.post(
        "/api/jobs/ReadFile/trigger",
        json={"arguments": {"report": {"name": "a.html", "content": content}}},
    )
    run = await ended(client, answer.json()["run_id"])
    assert run["message"].startswith("a.html 84 text/html b'<scri'")
    answer = await client.post(
        "/api/jobs/ReadFile/trigger/files",
        data={"arguments": "{}"},
        files=[
            ("report", ("März.csv", CSV, "text/csv")),
            ("others", ("1.txt", b"one", "text/plain")),
            ("others", ("2.txt", b"two", "text/plain")),
        ],
    )
    run = await ended(client, answer.json()["run_id"])
    assert "März.csv 84 text/csv b'<scri' ['one', 'two']" in run["message"]
    assert run["arguments"]["report"]["name"] == "März.csv"
    address = f"/api/runs/{run['id']}/files"
    files = (await client.get(address)).json()
    assert {(entry["kind"], entry["name"], entry["size"]) for entry in files} == {
        ("file", "März.csv", 84),
        ("file", "1.txt", 3),
        ("file", "2.txt", 3),
        ("result", "copy.html", 84),
    }
    [result] = [entry for entry in files if entry["kind"] == "result"]
    got = await client.get(f"{address}/{result['id']}")
    assert got.content == CSV
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["Content-Disposition"] == "attachment; filename*=UTF-8''copy.html"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in got.headers["Content-Security-Policy"]
    other = answer.json()["run_id"] - 1
    for wrong in (f"/api/runs/{other}/files/{result['id']}", f"{address}/none"):
        assert (await client.get(wrong)).status_code == 404
    like = await client.post(
        "/api/jobs/ReadFile/trigger", json={"arguments": {"others": []}, "like": run["id"]}
    )
    assert (await ended(client, like.json()["run_id"]))["message"].startswith("März.csv 84")
    for name, sent, status, expected in (
        ("report", b"x" * 1_300_000, 413, "TARGCC_MAX_FILE_BYTES"),
        ("report", b"x" * 200_001, 422, "may have 200,000: TARGCC_MAX_FILE_BYTES"),
        ("unknown", b"x", 422, "unknown: extra inputs"),
    ):
        answer = await client.post(
            "/api/jobs/ReadFile/trigger/files", files={name: ("a.bin", sent)}
        )
        assert (answer.status_code, expected in answer.text) == (status, True), answer.text
    waits = {"after": f"{other},{run['id']}", "on": "finish", "idempotency_key": "a file"}
    sent = {"data": waits | {"expires_in": "10m"}, "files": {"report": ("a.csv", CSV)}}
    answer = await client.post("/api/jobs/ReadFile/trigger/files", **sent)
    child = await ended(client, answer.json()["run_id"])
    assert {entry["id"] for entry in child["parents"]} == {other, run["id"]}
    again = await client.post("/api/jobs/ReadFile/trigger/files", **sent)
    assert (again.json()["run_id"], again.json()["existing"]) == (child["id"], True)
    answer = await client.post(
        "/api/jobs/ReadFile/trigger/files",
        data={"after": "first"},
        files={"report": ("a.csv", CSV)},
    )
    assert (answer.status_code, "after" in answer.text) == (422, True)
    viewer = await busy_site.program("viewer")
    answer = await viewer.post("/api/jobs/ReadFile/trigger/files", files={"report": ("a", b"x")})
    assert answer.status_code == 403
    for value in ("/etc/passwd", {"$file": "ab", "name": "a", "size": 1, "content_type": "a/b"}):
        answer = await client.post(
            "/api/jobs/ReadFile/trigger", json={"arguments": {"report": value}}
        )
        assert answer.status_code == 422


async def test_a_person_sends_a_file_with_the_form_and_finds_results_on_the_page(
    busy_site,
):
    visitor = await busy_site.user("operator")
    form = await visitor.page("/jobs/jobs/ReadFile")
    assert 'enctype="multipart/form-data"' in form
    assert 'name="arg-report" type="file" required' in form
    assert 'name="arg-others" type="file" multiple' in form
    answer = await visitor.client.post(
        "/jobs/jobs/ReadFile/run",
        data={"csrf": visitor.csrf, "next": "run"},
        files={"arg-report": ("a.csv", CSV), "arg-others": ("", b"")},
    )
    assert answer.status_code == 303, answer.text
    run_id = int(answer.headers["Location"].rpartition("/")[2])
    client = await busy_site.program("viewer")
    await ended(client, run_id)
    page = await visitor.page(f"/jobs/runs/{run_id}")
    assert "a.csv (84 B)" in page
    [link] = [
        part for part in page.split('"') if "/files/" in part and part in page.split("copy.html")[0]
    ][-1:]
    got = await visitor.get(link)
    assert (got.content, got.headers["Content-Type"]) == (CSV, "application/octet-stream")
    assert (await (await busy_site.stranger()).get(link)).status_code == 303
    again = await visitor.client.post(
        "/jobs/jobs/ReadFile/run",
        data={"csrf": visitor.csrf, "next": "run", "like": str(run_id)},
        files={"arg-report": ("", b"")},
    )
    assert again.status_code == 303, again.text


def test_the_command_line_sends_and_saves_files(database_url, monkeypatch, tmp_path):
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", "file_jobs")
    (tmp_path / "a.csv").write_bytes(CSV)

    def targcc(*arguments, status=0):
        result = CliRunner().invoke(main, arguments, prog_name="targcc")
        assert result.exit_code == status, result.output
        return result.output

    given = f"report=@{tmp_path / 'a.csv'}"
    run = json.loads(targcc("job", "run", "ReadFile", "--arg", given, "--wait", "--json"))
    number = str(run["id"])
    assert "copy.html  result    84 B" in targcc("run", "files", number)
    other_file = tmp_path / "copy.html.part"  # or a link placed by another user of a shared folder
    other_file.write_text("theirs")
    assert "copy.html" in targcc("run", "download", number, "--to", str(tmp_path))
    assert (tmp_path / "copy.html").read_bytes() == CSV
    assert other_file.read_text() == "theirs"
    assert {item.name for item in tmp_path.iterdir() if "copy" in item.name} == {
        "copy.html",
        other_file.name,
    }
    output = targcc("run", "download", number, "--to", str(tmp_path), status=2)
    assert "is there already" in output
    assert "there is no file" in targcc("job", "run", "ReadFile", "--arg", "report=@no", status=2)
    options = ("--after", number, "--or-wait", "--expires-in", "5m", "--idempotency-key", "again")
    for existing in (False, True):
        output = targcc("job", "run", "ReadFile", "--arg", given, *options, "--json")
        answer = json.loads(output)
        assert answer["existing"] is existing, output
    again = json.loads(targcc("run", "show", str(answer["run_id"]), "--json"))
    assert [item["id"] for item in again["parents"]] == [run["id"]]
    assert again["expires_at"] is not None


async def test_only_where_a_job_takes_a_file_a_value_with_an_at_sign_is_one(tmp_path):
    file = tmp_path / "a.csv"
    file.touch()
    for job, given in ((count_lines, {"title": "@dana"}), (read_file, {"report": f"@{file}"})):
        model = parameters_of(job, bound=False).model
        described = SimpleNamespace(parameters=model.model_json_schema())
        api = SimpleNamespace(get=AsyncMock(return_value=described))
        files = await files_among(api, job.__name__, given)
        assert (given, files) in (({"title": "@dana"}, {}), ({}, {"report": file}))
