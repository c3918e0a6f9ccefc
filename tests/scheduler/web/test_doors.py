"""Entry points of the web side: names, origins, forged cookies, extreme values, and a fuzzer over every address."""

import base64
import json
import os
import random
import re
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr
from targcc_scheduler import JobType, Settings, job
from targcc_scheduler.web import health, openapi
from targcc_scheduler.web.api.router import router as api_router
from targcc_scheduler.web.dashboard.router import ROUTERS
from targcc_scheduler.web.site_names import answers_to, is_same_origin
from web_fixtures import Site, running

REQUESTS = int(os.environ.get("TARGCC_FUZZ_REQUESTS", "6000"))
COOKIES = [
    "Nw==",
    "bnVsbA==",
    base64.urlsafe_b64encode(b"[" * 2_000).decode(),
    base64.urlsafe_b64encode(b'[{"a": 1}, [], null, true]').decode(),
    base64.urlsafe_b64encode(b"1" * 5_000).decode(),
    base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    "!",
]
INSTANTS = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z"]


@job(JobType.MANUAL)
async def takes_all(values: dict[str, Any], secret: SecretStr | None = None) -> None: ...


@pytest.mark.parametrize("cookie", COOKIES)
async def test_a_made_up_flash_cookie_shows_nothing(site: Site, cookie: str):
    visitor = await site.user("viewer")
    stranger = await site.stranger()
    for client, path in ((visitor.client, "/jobs"), (stranger.client, "/jobs/login")):
        client.cookies.set("targcc_flash", cookie)
        answer = await client.get(path)
        assert answer.status_code == 200
        assert 'class="toast ' not in answer.text


@pytest.mark.parametrize("instant", INSTANTS)
async def test_an_instant_at_the_end_of_the_calendar_is_refused(site: Site, instant: str):
    visitor, program = await site.user("operator"), await site.program("operator")
    answers = [
        await program.get("/api/runs", params={"since": instant}),
        await visitor.get("/jobs/runs", params={"since": instant}),
        await program.post("/api/jobs/DailyReport/pause", json={"until": instant}),
        await program.post("/api/queues/default/pause", json={"until": instant}),
        await visitor.send("/jobs/jobs/DailyReport/pause", until=instant[:16]),
        await visitor.get("/jobs/audit", params={"since": instant}),
    ]
    assert [answer.status_code for answer in answers if answer.status_code >= 500] == []
    assert "Traceback" not in "".join(answer.text for answer in answers)
    for path in ("/jobs", "/jobs/jobs/DailyReport", "/jobs/queues", "/jobs/runs"):
        assert (await visitor.get(path)).status_code in {200, 404}


UNREADABLE = ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000, '{"a": "\\ud800"}']


@pytest.mark.slow
async def test_json_that_nobody_can_read_is_told_so(settings: Settings):
    async with running(settings.model_copy(update={"jobs_package": __name__}), work=False) as site:
        visitor, program = await site.user("operator"), await site.program("operator")
        program.headers["Content-Type"] = "application/json"
        address = "/api/jobs/TakesAll/trigger"
        for text in UNREADABLE:
            form = {"arg-values": text, "arg-secret": "a"}
            by_form = await visitor.send("/jobs/jobs/TakesAll/run", **form)
            assert by_form.status_code < 500
            by_file = await visitor.client.post(
                f"{address}/files",
                data={"arguments": text},
                files={"x": ("", b"")},
                headers={"X-CSRF-Token": visitor.csrf},
            )
            assert by_file.status_code == 422
            by_body = await program.post(address, content=f'{{"arguments": {{"values": {text}}}}}')
            assert by_body.status_code in {400, 422}
        secret = r'{"arguments": {"values": {}, "secret": "a\ud800"}}'
        assert (await program.post(address, content=secret)).status_code == 422
        assert (await program.get("/api/runs")).json()["runs"] == []


@pytest.mark.usefixtures("short_streams")
async def test_a_stream_goes_on_after_any_event(site: Site):
    program = await site.program("viewer")
    for last in [*INSTANTS, "2026-11-26T00:00:00+23:59~1~running", "~", "-1"]:
        answer = await program.get("/api/events", headers={"Last-Event-ID": last})
        assert answer.status_code == 200
        assert answer.text


def settings_of(**values) -> Settings:
    return Settings(database_url="sqlite:///x.db", **values)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost:8000", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("10.1.2.3", True),
        ("scheduler:8000", True),
        ("jobs.default.svc.cluster.local", True),
        ("jobs.example.com", True),
        ("JOBS.example.com.:443", True),
        ("a.ops.example.com", True),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8000", False),
        ("evil.example", False),
        ("jobs.example.com.evil.example", False),
        ("xops.example.com", False),
        ("", False),
        ("a b", False),
        ("127.0.0.1@evil.example", False),
        ("evil.example/127.0.0.1", False),
        ("[evil.example]", False),
    ],
)
def test_only_names_of_this_site_are_answered(host, is_ours):
    settings = settings_of(base_url="https://jobs.example.com", allowed_hosts="*.ops.example.com")
    assert answers_to(host, settings) == is_ours


def test_any_name_is_answered_only_when_it_is_said():
    assert answers_to("evil.example", settings_of(allowed_hosts="*"))


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        (None, True),
        ("http://localhost:8000", True),
        ("https://jobs.example.com", True),
        ("null", False),
        ("https://evil.example", False),
        ("https://jobs.example.com.evil.example", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_the_origin_is_this_host_or_the_base_url(origin, is_ours):
    settings = settings_of(base_url="https://jobs.example.com")
    assert is_same_origin(origin, "localhost:8000", settings) == is_ours


async def test_a_strangers_name_is_told_what_to_set_and_health_checks_go_on(site: Site):
    visitor = await site.user("viewer")
    rebound = {"Host": "127.0.0.1.evil.example"}
    for path in ("/jobs", "/jobs/login", "/api/jobs", "/api/docs", "/jobs/static/dashboard.css"):
        answer = await visitor.get(path, headers=rebound)
        assert answer.status_code == 421, path
        assert "TARGCC_ALLOWED_HOSTS" in answer.text
    assert (await visitor.get("/health/live", headers=rebound)).status_code == 200


async def test_behind_tls_browsers_are_told_to_stay_there(site: Site):
    for base, says in (("https://testserver", True), ("http://testserver", False)):
        headers = (await (await site.stranger(base)).get("/jobs/login")).headers
        assert ("Strict-Transport-Security" in headers) == says
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]
        assert headers["Cache-Control"] == "no-store"


# A fuzzer over every address.

ODD = [
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
    "-1",
    "0",
    "9" * 30,
    "1e400",
    "NaN",
    "%00",
    "\x00",
    "\ud7ff￿",
    "'; DROP TABLE c_JobRun; --",
    "{{7*7}}",
    "../../etc/passwd",
    "é" * 300,
    "[" * 2_000,
    "true",
    "null",
    "",
    "a" * 5_000,
    "١٢",
    "²",
    "24h",
    "failed",
    "DailyReport",
    "default",
    "1",
]
NAMES = ["since", "until", "state", "job", "cursor", "limit", "page", "days", "q", "next", "token", "queue", "tag", "name", "reason", "owner", "arguments", "csrf", "arg-x", "by", "before", "after"]  # fmt: skip


def routes() -> list[tuple[str, str]]:
    addresses = []
    for prefix, router in [
        *(("", part.original_router) for part in api_router.routes),
        ("", openapi._json),
        ("", openapi._page),
        ("", health.router),
        *(("/jobs", part) for part in ROUTERS),
    ]:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            addresses += [(method, f"{prefix}{route.path}") for method in sorted(route.methods)]
    return addresses


def body_of(rng: random.Random) -> dict:
    """Return a request body: JSON of any shape, a form, or neither."""
    value = rng.choice(ODD)
    kind = rng.randrange(6)
    if kind == 0:
        return {"json": {name: rng.choice([value, None, [value], 10**40, {}]) for name in rng.sample(NAMES, 3)}}  # fmt: skip
    if kind == 1:
        return {"content": b"[" * 3_000, "headers": {"Content-Type": "application/json"}}
    if kind == 2:
        return {"json": rng.choice([None, 1, [], "x", value])}
    if kind == 3:
        return {
            "content": b"--x\r\nContent-Disposition: form-data\r\n\r\n",
            "headers": {"Content-Type": "multipart/form-data; boundary=x"},
        }
    if kind == 4:
        return {"content": value.encode(), "headers": {"Content-Type": "text/\xe9"}}
    return {"data": {name: rng.choice(ODD) for name in rng.sample(NAMES, 4)}}


async def fuzz(site: Site, requests: int, seed: int) -> dict[int, int]:
    """Send random requests to every address; return the number of responses by status."""
    rng = random.Random(seed)
    visitor, program = await site.user("admin"), await site.program("admin")
    stranger = await site.stranger()
    await site.add_run("DailyReport", "failed")
    counts: dict[int, int] = {}
    known = routes()
    for number in range(requests):
        method, template = known[number % len(known)]
        if template.endswith("/logout"):
            continue
        path = re.sub(r"\{[^}]*\}", lambda _: _quoted(rng.choice(ODD)), template)
        client = rng.choice([visitor.client, program, stranger.client])
        options = body_of(rng) if method != "GET" else {}
        headers = {"X-CSRF-Token": visitor.csrf, **options.pop("headers", {})}
        if rng.random() < 0.2:
            headers["Cookie"] = f"targcc_flash={rng.choice(COOKIES)}; {rng.choice(['a', '=', ';;', 'a=b'])}"  # fmt: skip
        if "data" in options:
            options["data"]["csrf"] = visitor.csrf
        params = {name: rng.choice(ODD) for name in rng.sample(NAMES, rng.randrange(4))}
        answer = await client.request(
            method,
            path,
            params=params,
            headers={name: value.encode() for name, value in headers.items()},
            **options,
        )
        counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        seen = (method, path[:200], params, json.dumps(options, default=str)[:300])
        assert answer.status_code < 500 or answer.status_code == 503, (seen, answer.text[:500])
    return counts


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text[:1_000], safe="") or "x"


@pytest.mark.usefixtures("short_streams")
@pytest.mark.slow
async def test_a_few_hundred_odd_requests_get_no_answer_of_500(site: Site):
    counts = await fuzz(site, 300, seed=1)
    assert counts[200] > 10
    assert 503 not in counts


@pytest.mark.soak
@pytest.mark.usefixtures("short_streams")
async def test_six_thousand_odd_requests_get_no_answer_of_500(site: Site):
    """``TARGCC_FUZZ_REQUESTS`` sets the number of requests."""
    counts = await fuzz(site, REQUESTS, seed=int(os.environ.get("TARGCC_FUZZ_SEED", "2")))
    print(dict(sorted(counts.items())))  # noqa: T201 - with -s, for whoever counts
    assert 503 not in counts
