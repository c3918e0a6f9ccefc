"""API, pages and forms refuse numbers that are infinite or too large, and never respond with an internal error."""

import json

import pytest
from web_fixtures import Site

LONG = "9" * 5_000
HUGE = "9" * 30


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/runs?before={}",
        "/jobs/runs/{}",
        "/jobs/jobs/DailyReport?run={}",
        "/jobs/jobs/DailyReport?before={}",
        "/jobs/jobs/DailyReport?like={}",
        "/jobs/runs/1/lines?after={}",
        "/jobs/runs/1/lines?before={}",
        "/jobs/audit?verify={}",
        "/jobs/audit?run={}",
        "/jobs/audit?before={}",
        "/jobs/calendars?year={}",
        "/jobs/timeline?hours={}",
        "/jobs/heatmap?weeks={}",
        "/jobs/inbox?run={}",
        "/jobs/bulk/{}",
        "/jobs/bulk/new?do=retry&rate={}",
        "/jobs/bulk/new?do=priority&to={}",
        "/jobs/runs?q=run:{}",
        "/jobs/runs?q=took:>{}s",
        "/jobs/runs?q=arg.customer:{}",
        "/jobs/runs?q=attempt:{}",
        "/jobs?every={}",
    ],
)
async def test_a_page_answers_any_number_in_its_address(site: Site, path):
    person = await site.user()
    for number in (LONG, HUGE, "-1", "²", "٣"):
        answer = await person.get(path.format(number), follow_redirects=True)
        assert answer.status_code < 500, (number[:30], answer.text[:500])


@pytest.mark.parametrize(
    "path",
    [
        "/api/runs?before={}",
        "/api/runs?cursor={}",
        "/api/runs/{}",
        "/api/runs/{}/log?after={}",
        "/api/runs/{}/why",
        "/api/audit?run_id={}",
        "/api/audit?before={}",
        "/api/audit?cursor={}",
        "/api/bulk?cursor={}",
        "/api/bulk/{}",
        "/api/batches/{}",
        "/api/flows/{}",
        "/api/jobs/DailyReport/history?cursor=2026-01-01T00:00:00Z~{}",
        "/api/history?cursor=2026-01-01T00:00:00Z~{}",
        "/api/history?since=2026-01-01T00:00:00Z&limit={}",
        "/api/inbox/nix/runs?cursor={}",
        "/api/webhooks/{}/deliveries?cursor={}",
        "/api/runs?q=run:{}",
    ],
)
async def test_the_api_answers_any_number_in_its_address(site: Site, path):
    program = await site.program("admin")
    for number in (LONG, HUGE, "-1", "²"):
        answer = await program.get(path.replace("{}", number))
        assert answer.status_code < 500, (number[:30], answer.text[:500])


@pytest.mark.parametrize("number", [LONG, "1e400", "-1", "0", "1e-320", "NaN", "-Infinity"])
async def test_a_rate_that_is_no_usual_number_is_refused(site: Site, number):
    program = await site.program()
    for path, body in (
        ("/api/bulk", '{"action": "retry", "filter": {}, "rate": %s}'),
        (
            "/api/jobs/DailyReport/backfill",
            '{"since": "2026-01-01T00:00Z", "until": "2026-01-02T00:00Z", "rate": %s}',
        ),
    ):
        answer = await program.post(
            path, content=body % number, headers={"content-type": "application/json"}
        )
        assert answer.status_code in {400, 422}, answer.text[:500]
    assert (await program.get("/api/bulk")).json() == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", LONG])
async def test_an_argument_that_is_no_usual_number_breaks_nothing(site: Site, number):
    program = await site.program()
    answer = await program.post(
        "/api/jobs/MailUser/trigger",
        content=f'{{"arguments": {{"user_id": {number}}}}}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code in {400, 422}, answer.text[:500]


@pytest.mark.parametrize("number", [LONG, HUGE, "nan", "inf", "1e-320", "²", "x"])
async def test_a_form_with_any_number_is_answered_with_a_message(site: Site, number):
    person = await site.user()
    await site.add_run("MailUser", "failed")
    for path, form in (
        ("/jobs/bulk", {"do": "retry", "state": "failed", "rate": number}),
        ("/jobs/bulk", {"do": "priority", "state": "failed", "to": number}),
        ("/jobs/bulk", {"do": "retry", "state": "failed", "most": number}),
        ("/jobs/inbox/nix/some", {"do": "discard", "run": number}),
        (
            "/jobs/jobs/DailyReport/backfill",
            {"since": "2026-01-01T00:00", "until": "2026-01-02T00:00", "rate": number},
        ),
    ):
        if number == HUGE and "most" in form:
            continue
        answer = await person.send(path, **form)
        assert answer.status_code in {303, 404, 422}, (path, form, answer.text[:500])
    program = await site.program()
    assert (await program.get("/api/bulk")).json() == []


@pytest.mark.parametrize("header", ["content-length", "last-event-id"])
async def test_a_header_with_thousands_of_digits_is_no_fault_of_ours(site: Site, header):
    program = await site.program()
    await site.add_run("MailUser", "succeeded")
    path = "/api/runs/1/events" if header == "last-event-id" else "/api/jobs/MailUser/trigger"
    method = "GET" if header == "last-event-id" else "POST"
    answer = await program.request(method, path, headers={header: LONG}, content=b"{}")
    assert answer.status_code < 500, answer.text[:500]


@pytest.mark.slow
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_a_stored_argument_that_is_not_finite_is_shown(site: Site, number):
    await site.add_run("MailUser", "failed", ArgumentsJson=f'{{"user_id": {number}}}')
    person, program = await site.user(), await site.program()
    for path in ("/api/runs", "/api/runs/1"):
        answer = await program.get(path)
        assert answer.status_code == 200, answer.text[:500]
        assert json.dumps(answer.json(), allow_nan=False)
        assert f'"{number}"' in answer.text
    assert number in await person.page("/jobs/runs/1")
