"""The audit on its page, in the API and on the command line."""

import csv
import io
import json
import sqlite3

import pytest
from click.testing import CliRunner
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.kernel.audit import audit


@pytest.fixture
def targcc(database_url, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)

    def call(*arguments, status=0):
        result = CliRunner().invoke(main, arguments, prog_name="targcc")
        assert result.exit_code == status, result.output
        return result.stdout

    return call


def execute(path, sql):
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(sql)
    connection.close()


@pytest.mark.slow
@pytest.mark.sqlite  # changes rows in a file of SQLite
def test_the_command_names_the_first_row_that_was_changed(targcc, tmp_path):
    for name in ("one", "two", "three"):
        targcc("token", "create", name)
    report = json.loads(targcc("audit", "verify", "--json"))
    assert (report["rows"], report["fault"]) == (3, None)
    assert f"head {report['head']}" in targcc("audit", "verify", "--head", report["head"])
    targcc("audit", "verify", "--head", "nonsense", status=2)
    assert "created token" in targcc("audit", "--action", "create token", "--actor", "CLI")
    listed = csv.DictReader(io.StringIO(targcc("audit", "export", "--since", "2020-01-01")))
    assert [row["detail"] for row in listed] == [
        f"{actor} as viewer" for actor in ("three", "two", "one")
    ]
    execute(tmp_path / "jobs.db", "UPDATE c_JobAudit SET Detail = 'two as admin' WHERE Seq = 2")
    assert "changed: row 2 is not as it was written" in targcc("audit", "verify", status=1)
    execute(tmp_path / "jobs.db", "DELETE FROM c_JobAudit WHERE Seq >= 2")
    assert "cut off: the chain ends at place 1" in targcc(
        "audit", "verify", "--head", report["head"], status=1
    )


async def test_the_page_and_the_api_filter_export_and_verify(site):
    admin = await site.user("admin", "yossi")
    eve = Actor(ActorKind.API, "eve")
    now = site.scheduler.clock.now()
    await site.change(lambda db: audit(db, eve, "pause", now, job_name="SyncStock", detail="=1+1"))
    shown = await admin.page("/jobs/audit?actor=EVE&since=2020-01-01&until=2999-01-01")
    assert ("<bdi>eve</bdi> paused" in shown, "<bdi>yossi</bdi> signed in" in shown) == (
        True,
        False,
    )
    assert "No entries match" in await admin.page("/jobs/audit?actor=EVE&until=2020-01-01")
    assert "<bdi>yossi</bdi> signed in" in await admin.page(
        "/jobs/audit?since=0001-01-01&until=nonsense"
    )
    link = "/jobs/audit/export?actor=eve&format=csv"
    assert link in (await admin.page("/jobs/audit?actor=eve")).replace("&amp;", "&")
    answer = await admin.get(link)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["detail"], row["job"]) == ("'=1+1", "SyncStock")
    entries = (
        await admin.get("/api/audit/export", params={"format": "json", "job": "syncstock"})
    ).json()
    assert [entry["actor"] for entry in entries] == ["API (eve)"]
    naive = await admin.get("/api/audit", params={"since": "2026-01-01T00:00:00"})
    assert naive.status_code == 422
    verdict = (await admin.get("/api/audit/verify")).json()
    assert (verdict["fault"], verdict["unchained"]) == (None, 0)
    assert (await admin.get("/api/audit/verify", params={"head": "x"})).status_code == 422
    await site.change(lambda db: db.exec_driver_sql("DELETE FROM c_JobAudit WHERE Seq = 1"))
    assert (await admin.get("/api/audit/verify")).json()["fault"]["kind"] == "removed"
