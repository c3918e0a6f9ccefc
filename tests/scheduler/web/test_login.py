import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from targcc_scheduler import Settings
from targcc_scheduler.features.accounts import api as account_api
from targcc_scheduler.features.accounts.providers import session_cookie
from targcc_scheduler.features.accounts.users import LOGIN_LINKS
from targcc_scheduler.features.audit import api as audit_api
from targcc_scheduler.web import health, openapi, route_table
from targcc_scheduler.web.api import jobs, runs, system
from targcc_scheduler.web.dashboard.router import ROUTERS
from web_fixtures import PASSWORD, Site, running

OPEN = {"/health/live", "/health/ready", "/static/{name}", "/language", "/session"} | {
    f"/login{rest}" for rest in ("", "/code", "/oidc", "/oidc/answer", "/oidc/leave")
}


def _routes() -> list[tuple[str, str]]:
    """Return method and path of every route."""
    addresses = []
    for prefix, router in [
        ("", jobs.router),
        ("", runs.router),
        ("", system.router),
        ("", audit_api.router),
        ("", account_api.router),
        ("", openapi._json),
        ("", openapi._page),
        ("", health.router),
        *(("/jobs", router) for router in ROUTERS),
    ]:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            if route.path not in OPEN:
                path = re.sub(r"\{run_id\}", "1", f"{prefix}{route.path}")
                addresses += [(method, path.replace("{name}", "x")) for method in route.methods]
    return addresses


async def test_nothing_is_open_to_strangers(site: Site):
    stranger, opened = await site.stranger(), []
    for method, path in _routes():
        answer = await stranger.client.request(method, path)
        if path.startswith("/jobs") or path == "/api/docs":
            redirected = answer.headers.get("Location", "").startswith("/jobs/login")
            closed = answer.status_code == 303 and redirected
        else:
            kind = (answer.headers["Content-Type"], answer.headers.get("WWW-Authenticate"))
            closed = answer.status_code == 401 and kind == ("application/problem+json", "Bearer")
        if not closed:
            opened.append((method, path, answer.status_code))
    assert opened == []


def test_there_are_as_many_routes_as_we_think():
    assert len(_routes()) > 30


async def test_the_users_own_app_keeps_the_api_out_of_its_open_schema(site: Site):
    stranger = await site.stranger()
    assert (await stranger.get("/openapi.json")).status_code == 404


async def test_a_login_link_signs_in_once(site: Site):
    secret = LOGIN_LINKS.create()
    visitor = await site.stranger()
    answer = await visitor.get(f"/jobs/login?token={secret}")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs")
    assert "Overview" in await visitor.page("/jobs")
    second = await (await site.stranger()).get(f"/jobs/login?token={secret}")
    assert second.status_code == 403
    assert "This link has expired" in second.text


async def test_the_login_page_says_how_to_sign_in_while_there_is_no_user(site: Site):
    page = await (await site.stranger()).page("/jobs/login")
    assert "targcc user add NAME" in page
    assert "password" not in page.lower().replace("targcc user", "")


async def test_a_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Site):
    await site.add_user("dana")
    for base, secure in [("http://testserver", False), ("https://testserver", True)]:
        visitor = await site.stranger(base)
        answer = await visitor.client.post(
            "/jobs/login", data={"name": "dana", "password": PASSWORD}
        )
        cookie = answer.headers["Set-Cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert ("secure" in cookie) == secure


async def test_after_signing_in_one_comes_where_one_wanted_to_go(site: Site):
    await site.add_user("dana")
    visitor = await site.stranger()
    away = await visitor.get("/jobs/runs?state=failed")
    assert away.headers["Location"] == "/jobs/login?next=%2Fjobs%2Fruns%3Fstate%3Dfailed"
    door = await visitor.page(away.headers["Location"])
    assert 'value="/jobs/runs?state=failed"' in door
    form = {"name": "DANA", "password": PASSWORD, "next": "/jobs/runs?state=failed"}
    answer = await visitor.client.post("/jobs/login", data=form)
    assert answer.headers["Location"] == "/jobs/runs?state=failed"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/jobs\\..",
        "/jobsevil",
        "/other",
        "javascript:alert(1)",
        "/jobs/\r\nSet-Cookie: x=1",
    ],
)
async def test_signing_in_leads_to_no_other_site(site: Site, target: str):
    await site.add_user("dana")
    visitor = await site.stranger()
    form = {"name": "dana", "password": PASSWORD, "next": target}
    answer = await visitor.client.post("/jobs/login", data=form)
    assert answer.headers["Location"] == "/jobs"


async def test_a_wrong_password_is_refused_and_written_down(site: Site):
    await site.add_user("dana")
    visitor = await site.stranger()
    for name in ("dana", "my secret typed here"):
        answer = await visitor.client.post(
            "/jobs/login", data={"name": name, "password": "wrong wrong wrong"}
        )
        assert answer.status_code == 401
        assert "Wrong name or password" in answer.text
        assert session_cookie() not in visitor.client.cookies
    audit = (await (await site.program("viewer")).get("/api/audit")).json()
    assert [entry["actor"] for entry in audit] == ["Manual (unknown name)", "Manual (dana)"]
    assert {entry["action"] for entry in audit} == {"sign-in refused"}
    assert {entry["remote"] for entry in audit} == {"10.1.2.3"}


async def test_after_five_failures_even_the_right_password_has_to_wait(site: Site):
    await site.add_user("dana")
    visitor = await site.stranger()
    wrong = {"name": "dana", "password": "wrong wrong wrong"}
    statuses = [
        (await visitor.client.post("/jobs/login", data=wrong)).status_code for _ in range(7)
    ]
    assert statuses == [401] * 6 + [429]
    answer = await visitor.client.post("/jobs/login", data={"name": "dana", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert "Try again in" in answer.text


async def test_signing_out_ends_the_session_on_the_server(site: Site):
    visitor = await site.user("viewer")
    cookies = dict(visitor.client.cookies)
    answer = await visitor.send("/jobs/logout")
    assert answer.headers["Location"] == "/jobs/login"
    thief = await site.stranger()
    thief.client.cookies.update(cookies)
    assert (await thief.get("/jobs")).status_code == 303


async def test_a_form_without_its_token_changes_nothing(site: Site):
    visitor = await site.user("operator")
    for csrf in ("", "guess", visitor.csrf[:-1], f"{visitor.csrf}x"):
        answer = await visitor.client.post("/jobs/jobs/DailyReport/run", data={"csrf": csrf})
        assert answer.status_code == 403
        assert "expired" in answer.text
    assert "No runs" in await visitor.page("/jobs/jobs/DailyReport")


async def test_a_form_from_another_site_changes_nothing_even_with_the_token(site: Site):
    visitor = await site.user("operator")
    answer = await visitor.client.post(
        "/jobs/jobs/DailyReport/run",
        data={"csrf": visitor.csrf},
        headers={"Origin": "https://evil.example"},
    )
    assert answer.status_code == 403
    same = await visitor.client.post(
        "/jobs/jobs/DailyReport/run",
        data={"csrf": visitor.csrf},
        headers={"Origin": "http://testserver"},
    )
    assert same.status_code == 303


async def test_a_session_calls_the_api_only_with_its_token_in_the_header(site: Site):
    visitor = await site.user("operator")
    refused = await visitor.client.post("/api/jobs/DailyReport/trigger")
    assert refused.status_code == 403
    assert "X-CSRF-Token" in refused.json()["detail"]
    headers = {"X-CSRF-Token": visitor.csrf}
    done = await visitor.client.post("/api/jobs/DailyReport/trigger", headers=headers)
    assert done.status_code == 200


VIEWERS_CANNOT = [
    "/jobs/jobs/DailyReport/run",
    "/jobs/jobs/DailyReport/pause",
    "/jobs/jobs/DailyReport/resume",
    "/jobs/runs/1/retry",
    "/jobs/runs/1/cancel",
    "/jobs/runs/1/delete",
    "/jobs/queues/default/pause",
    "/jobs/queues/default/resume",
]


@pytest.mark.parametrize("path", VIEWERS_CANNOT)
async def test_viewers_look_and_touch_nothing(site: Site, path: str):
    viewer = await site.user("viewer")
    answer = await viewer.send(path)
    assert answer.status_code == 403
    assert "viewer-person is viewer" in answer.text


async def test_viewers_see_no_buttons(site: Site):
    run_id = await site.add_run("DailyReport", "failed")
    viewer, operator = await site.user("viewer"), await site.user("operator")
    for path in ("/jobs", "/jobs/jobs", "/jobs/jobs/DailyReport", f"/jobs/runs/{run_id}"):
        assert 'class="action"' not in await viewer.page(path)
        assert 'class="action"' in await operator.page(path)


async def test_only_admins_delete(site: Site):
    run_id = await site.add_run("DailyReport", "failed")
    operator, admin = await site.user("operator"), await site.user("admin")
    assert (await operator.send(f"/jobs/runs/{run_id}/delete")).status_code == 403
    assert "Delete" not in await operator.page(f"/jobs/runs/{run_id}")
    assert (await admin.send(f"/jobs/runs/{run_id}/delete")).status_code == 303
    assert (await admin.get(f"/jobs/runs/{run_id}")).status_code == 404


async def test_every_answer_is_guarded(site: Site):
    visitor = await site.user("viewer")
    paths = ["/jobs", "/jobs/runs/99", "/jobs/login", "/api/jobs", "/api/jobs/nix", "/health/live"]
    for path in [*paths, "/jobs/static/dashboard.css"]:
        headers = (await visitor.get(path)).headers
        assert "script-src 'self';" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


async def test_what_is_private_is_kept_by_no_cache(site: Site):
    visitor = await site.user("viewer")
    assert (await visitor.get("/jobs")).headers["Cache-Control"] == "no-store"
    static = await visitor.get("/jobs/static/dashboard.js")
    assert "immutable" in static.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["../pages.py", "..%2fpages.py", "nothing.css", "%2e%2e/x"])
async def test_only_the_static_files_are_served(site: Site, name: str):
    stranger = await site.stranger()
    answer = await stranger.get(f"/jobs/static/{name}")
    assert answer.status_code in {303, 404}
    assert "import" not in answer.text


@pytest.mark.parametrize("token", ["", "nonsense", "tgc_guess", "é"])
async def test_a_token_that_is_none_opens_nothing(site: Site, token: str):
    stranger = await site.stranger()
    answer = await stranger.get(
        "/api/jobs", headers=[(b"Authorization", f"Bearer {token}".encode())]
    )
    assert answer.status_code == 401


async def test_a_token_remembers_when_it_was_used(site: Site):
    program = await site.program("viewer")
    await program.get("/api/jobs")
    used: Any = await site.change(
        lambda db: db.exec_driver_sql("SELECT LastUsedAt FROM c_JobToken WHERE Name LIKE 'viewer%'")
    )
    assert used.scalar() is not None


async def test_an_old_page_whose_session_has_ended_goes_to_the_login(site: Site):
    stranger = await site.stranger()
    answer: httpx.Response = await stranger.get("/jobs", headers={"HX-Request": "true"})
    assert answer.status_code == 204
    assert answer.headers["HX-Redirect"] == "/jobs/login"


async def test_apps_of_one_process_share_their_routes_and_nothing_else(
    site: Site, settings: Settings, empty_database: Path, tmp_path: Path
):
    file = shutil.copy(empty_database, tmp_path / "other.db")
    beside = settings.model_copy(update={"database_url": f"sqlite:///{file}"})
    viewer = await site.user("viewer")
    async with running(beside, work=False) as other:
        assert "DailyReport" in await viewer.page("/jobs")
        stranger = await other.stranger()
        stranger.client.cookies.update(viewer.client.cookies)
        assert (await stranger.get("/jobs")).status_code == 303
        assert "DailyReport" in await (await other.user("viewer")).page("/jobs")
    assert "DailyReport" in await viewer.page("/jobs")
    assert route_table.route_table("/jobs", signs_in=True) is route_table.route_table(
        "/jobs", signs_in=True
    )
