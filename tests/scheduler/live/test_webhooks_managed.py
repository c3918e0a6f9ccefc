"""Manage webhooks in the pages, the API and the command line."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from hook_rig import is_signed
from targcc_scheduler.cli.main import main
from targcc_scheduler.features.events.signing import OVERLAP, opened, rotated, sealed, signed
from web_fixtures import Site

URL = "https://example.com/hooks/s3cret-path?key=s3cret-key"


async def test_an_admin_manages_webhooks_by_the_api(site: Site):
    admin, operator, viewer = [await site.program(role) for role in ("admin", "operator", "viewer")]
    wanted = {"url": URL, "events": ["failed"], "jobs": ["Daily*"]}
    assert (await operator.post("/api/webhooks", json=wanted)).status_code == 403
    assert (await viewer.get("/api/webhooks")).status_code == 403
    keyed = await admin.post("/api/webhooks", json=wanted, headers={"Idempotency-Key": "one"})
    assert (keyed.status_code, keyed.json()["title"]) == (422, "Not with a key")
    made = (await admin.post("/api/webhooks", json=wanted)).json()
    assert made["secret"].startswith("whsec_")
    [listed] = (await operator.get("/api/webhooks")).json()
    assert (listed["events"], listed["jobs"]) == (["failed"], ["Daily*"])
    assert "s3cret" not in json.dumps(listed)
    here = f"/api/webhooks/{made['id']}"
    sent = (await admin.post(f"{here}/test")).json()["delivery_id"]
    assert (await admin.post(f"{here}/test")).status_code == 200
    page = await operator.get(f"{here}/deliveries?limit=1")
    [newest] = page.json()
    assert (newest["status"], newest["event"], newest["run_id"]) == ("waiting", "test", None)
    older = await operator.get(page.links["next"]["url"])
    assert [entry["id"] for entry in older.json()] == [sent]
    assert (await admin.post(f"{here}/disable")).status_code == 200
    assert (await admin.post(f"{here}/test")).status_code == 422
    again = f"{here}/deliveries/{sent}/redeliver"
    assert (await admin.post(again)).status_code == 422
    assert (await admin.post(f"{here}/enable")).status_code == 200
    assert (await admin.post(again)).status_code == 200
    assert (await admin.post(f"{here}/deliveries/999/redeliver")).status_code == 404
    assert (await operator.post(f"{here}/rotate")).status_code == 403
    new = (await admin.post(f"{here}/rotate")).json()
    assert new["secret"].startswith("whsec_")
    assert new["secret"] != made["secret"]
    assert (await admin.delete(here)).status_code == 200
    for path in (f"{here}/rotate", f"{here}/test", f"{here}/disable", again):
        assert (await admin.post(path)).status_code == 404
    assert (await operator.get(f"{here}/deliveries")).status_code == 404
    refused = await admin.post("/api/webhooks", json={"url": "ftp://example.com"})
    assert refused.status_code == 422


async def test_an_admin_manages_webhooks_on_their_pages(site: Site):
    admin, operator, viewer = [await site.user(role) for role in ("admin", "operator", "viewer")]
    assert (await viewer.get("/jobs/webhooks")).status_code == 403
    assert "New webhook" not in await operator.page("/jobs/webhooks")
    assert 'href="/jobs/webhooks"' in await operator.page("/jobs/system")
    made = await admin.send("/jobs/webhooks", url=URL, events="failed", jobs="Daily*")
    assert re.search(r'<code id="secret">whsec_[\w+/=]+</code>', made.text)
    wrong = await admin.send("/jobs/webhooks", url="ftp://example.com", events="failed", jobs="X")
    assert "An address begins with https:// or http://" in wrong.text
    assert 'value="failed" checked' in wrong.text
    listed = await operator.page("/jobs/webhooks")
    assert "s3cret" not in listed
    assert "whsec_" not in listed
    assert (await operator.send("/jobs/webhooks/1/test")).status_code == 403
    for action in ("test", "disable", "enable"):
        assert (await admin.send(f"/jobs/webhooks/1/{action}")).status_code == 303
    page = await admin.page("/jobs/webhooks/1")
    assert "the webhook is off" in page  # the outcome of the waiting message
    again = re.search(r'action="(/jobs/webhooks/1/redeliver/\d+)"', page)
    assert again is not None
    assert (await admin.send(again[1])).headers["location"] == "/jobs/webhooks/1"
    assert ">waiting</span>" in await admin.page("/jobs/webhooks/1")
    assert (await admin.send("/jobs/webhooks/1/delete")).headers["location"] == "/jobs/webhooks"
    for path in ("/jobs/webhooks/1", "/jobs/webhooks/x"):
        assert (await admin.get(path)).status_code == 404
    assert (await admin.send("/jobs/webhooks/1/nonsense")).status_code == 404


@pytest.mark.slow
def test_an_operator_manages_webhooks_by_commands(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)

    def targcc(*words: str, status: int = 0) -> str:
        done = CliRunner().invoke(main, ["webhook", *words])
        assert done.exit_code == status, done.output
        return done.output

    assert targcc("list") == "No webhooks yet. Create one: targcc webhook create https://…\n"
    made = targcc("create", URL, "--event", "failed", "--job", "Daily*")
    assert re.search(r"^secret {2}whsec_\S{40,} ", made, re.MULTILINE)
    assert json.loads(targcc("create", URL, "--json"))["id"] == 2
    listed = json.loads(targcc("list", "--json"))
    assert [hook["events"] for hook in listed] == [["failed"], []]
    assert "s3cret" not in targcc("list") + json.dumps(listed)
    assert "sends message 1" in targcc("test", "1")
    assert targcc("deliveries", "1").splitlines()[1].split()[:4] == ["1", "test", "waiting", "0"]
    assert targcc("disable", "1") == "webhook 1 is off\n"
    assert "is off: enable it first" in targcc("redeliver", "1", "1", status=2)
    assert targcc("enable", "1") == "webhook 1 is on\n"
    targcc("redeliver", "1", "1")
    assert json.loads(targcc("deliveries", "1", "--json"))[0]["status"] == "waiting"
    targcc("delete", "1")
    assert "there is no webhook 1" in targcc("deliveries", "1", status=2)
    assert "there is no webhook 1" in targcc("delete", "1", status=2)


def test_who_has_the_old_secret_verifies_messages_for_a_day_after_a_new_one():
    at, body = datetime(2026, 11, 26, tzinfo=UTC), b"{}"
    old, new = "whsec_b2xk", "whsec_bmV3"
    kept = rotated(sealed(URL, old), new, at)

    def verified(now: datetime) -> list[bool]:
        url, using = opened(kept, now)
        assert url == URL
        return [is_signed(secret, signed(using, "msg_1", body, now), body) for secret in (new, old)]

    assert verified(at + OVERLAP - timedelta(seconds=1)) == [True, True]
    assert verified(at + OVERLAP) == [True, False]
