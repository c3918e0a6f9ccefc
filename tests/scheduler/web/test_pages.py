import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
import targcc_scheduler
from targcc_scheduler import __version__
from targcc_scheduler.db.tables import job_log_line, job_step
from targcc_scheduler.features.alerts import model as alert_model
from targcc_scheduler.features.alerts.model import Happened
from targcc_scheduler.kernel import error_groups
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.kernel.jobs.discovery import BrokenModule
from web_fixtures import Site

TEMPLATES = Path(targcc_scheduler.__file__).parent
TRACEBACK = """Traceback (most recent call last):
  File "report.py", line 3, in execute
    raise ValueError("<script>alert(1)</script>")
ValueError: <script>alert(1)</script>"""


class Page(HTMLParser):
    """Parser that reads a page like a browser."""

    VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})
    # Self-closing shapes of drawings.
    SHAPES = frozenset({"rect", "line"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        opened = self.open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"


async def furnish(site: Site) -> dict[str, int]:
    """Insert rows of every kind; return the ids."""
    now = datetime.now(UTC)
    failed = await site.add_run(
        "SyncStock",
        "failed",
        Message="ValueError: <script>alert(1)</script>",
        Attempt=2,
        LifeLog=f"{now.isoformat()} enqueued by System\n{now.isoformat()} failed <b>no</b>\n",
    )
    await site.add_attempt("SyncStock", failed, Success=False, StackTrace=TRACEBACK, Attempt=1)
    await site.add_attempt("SyncStock", failed, Success=False, StackTrace=TRACEBACK, Attempt=2)
    running = await site.add_run(
        "SlowExport",
        "running",
        StartedAt=now - timedelta(seconds=90),
        ProgressDone=340,
        ProgressTotal=1200,
        Attempt=1,
        ServerId="web-1:77",
    )
    done = await site.add_run("DailyReport", "succeeded", Message="3 orders", Attempt=1)
    await site.add_attempt("DailyReport", done, ResultMessage="3 orders")
    removed = await site.add_run("RemovedJob", "missed", ArgumentsJson='{"pin": "4711"}')
    line = {"RunId": failed, "Attempt": 1, "At": now, "Level": "warning", "Message": "<i>slow</i>"}
    step = {"RunId": failed, "Name": "load", "ResultJson": "3", "Attempt": 1}

    async def work(db):
        await db.execute(job_log_line.insert().values(line))
        await db.execute(job_step.insert().values({**step, "CompletedAt": now, "DurationMs": 5}))

    await site.change(work)
    return {"failed": failed, "running": running, "done": done, "removed": removed}


def paths(runs: dict[str, int]) -> list[str]:
    return [
        "/jobs",
        "/jobs/jobs",
        "/jobs/jobs/DailyReport",
        "/jobs/jobs/MailUser",
        "/jobs/jobs/RemovedJob",
        "/jobs/runs",
        *(f"/jobs/runs/{run_id}" for run_id in runs.values()),
        "/jobs/calendar",
        "/jobs/calendar?view=day",
        "/jobs/timeline",
        "/jobs/heatmap",
        "/jobs/system",
        "/jobs/audit",
        "/api/docs",
    ]


async def test_a_run_that_does_not_stop_is_shown_as_such(site: Site):
    note = "told to stop at 2026-11-25 08:00:00+00:00, still running: timed out after 5m"
    run_id = await site.add_run(
        "SlowExport", "running", StartedAt=datetime.now(UTC), Attempt=1, StopNote=note
    )
    visitor = await site.user("viewer")
    assert (
        f"The run was <bdi>{note}</bdi>. It keeps its worker until it ends."
        in await visitor.page(f"/jobs/runs/{run_id}")
    )
    client = await site.program("viewer")
    assert (await client.get(f"/api/runs/{run_id}")).json()["stop_note"] == note


@pytest.mark.always
async def test_every_page_is_well_formed_and_obeys_its_own_policy(site: Site):
    runs = await furnish(site)
    visitor = await site.user("admin")
    for path in paths(runs):
        text = await visitor.page(path)
        page = Page(text)
        assert page.open == [], path
        assert len(page.ids) == len(set(page.ids)), path
        for tag, attributes in page.tags:
            assert tag != "style", path
            assert "style" not in attributes, path
            assert not [name for name in attributes if name.startswith("on")], path
            if tag == "script":
                assert (attributes["src"] or "").startswith("/jobs/static/"), path
        assert "<script>alert" not in text, path
        assert not re.search(r'(src|href)="https?:', text), path


async def test_every_input_has_a_name_for_those_who_cannot_see_it(site: Site):
    runs = await furnish(site)
    visitor = await site.user("admin")
    for path in paths(runs):
        page = Page(await visitor.page(path))
        labelled = {attributes.get("for") for tag, attributes in page.tags if tag == "label"}
        for tag, attributes in page.tags:
            if tag in {"input", "select", "textarea"} and attributes.get("type") != "hidden":
                assert "aria-label" in attributes or attributes.get("id") in labelled, path
            if tag == "svg":
                assert "aria-label" in attributes or "aria-hidden" in attributes, path


async def test_empty_pages_teach(site: Site):
    visitor = await site.user("admin")
    assert "No activity yet" in await visitor.page("/jobs")
    assert "targcc job run NAME --wait" in await visitor.page("/jobs/runs")
    assert "targcc worker" in await visitor.page("/jobs/system")
    assert "No runs match" in await visitor.page("/jobs/runs?state=failed")
    assert "No jobs match" in await visitor.page("/jobs/jobs?q=nix")


async def test_the_first_page_shows_the_last_line_of_the_traceback_and_the_button(site: Site):
    await furnish(site)
    page = await (await site.user("operator")).page("/jobs")
    assert "ValueError: &lt;script&gt;alert(1)&lt;/script&gt;" in page
    why = fingerprint_of("SyncStock", "ValueError: <script>alert(1)</script>")
    assert f'action="/jobs/inbox/{why.key}/retry"' in page
    assert "340 of 1,200" in page


async def test_a_failed_run_opens_with_its_last_line_then_the_whole(site: Site):
    runs = await furnish(site)
    page = await (await site.user("operator")).page(f"/jobs/runs/{runs['failed']}")
    last = page.index("ValueError: &lt;script")
    whole = page.index("Traceback (most recent call last)")
    assert page.index("Why it failed") < last < whole
    assert "&lt;i&gt;slow&lt;/i&gt;" in page
    assert "A retry continues after these steps." in page


def _count_stock() -> None:
    """A job's work."""


async def test_an_interval_that_no_cron_expresses_is_shown_with_its_next_runs(site: Site):
    site.scheduler.add_recurring(
        "Stock count",
        _count_stock,
        every="3d",
        anchor="2026-01-02T05:10",
        timezone="UTC",
        misfire_grace="none",
    )
    first, passed = datetime(2026, 1, 2, 5, 10, tzinfo=UTC), timedelta(days=3)
    following = first + ((datetime.now(UTC) - first) // passed + 1) * passed
    visitor, program = await site.user(), await site.program()

    page = await visitor.page("/jobs/jobs/Stock%20count")
    job = (await program.get("/api/jobs/Stock%20count")).json()

    assert "Every 3 days from 2026-01-02 05:10" in page
    assert "the newest missed slot is run, no matter how late" in page
    assert f'datetime="{following.isoformat()}"' in page
    assert job["misfire_grace_seconds"] is None
    runs = [datetime.fromisoformat(run) for run in job["next_runs"]]
    assert runs == [following + number * passed for number in range(5)]


async def test_a_row_of_c_job_that_cannot_run_is_shown_by_its_name(site: Site):
    row = BrokenModule('c_Job row 2 "Load v1.5"', None, "4 fields instead of 5", "4 fields")
    site.scheduler._registry.replace_external("c_Job", {}, [row])
    viewer = await site.user("viewer")

    assert "<b>c_Job row 2 &#34;Load v1.5&#34;</b>" in await viewer.page("/jobs")
    assert "After a change of a row of c_Job, wait a minute" in await viewer.page("/jobs/jobs")


async def test_a_job_file_that_does_not_import_is_shown_with_its_traceback(site: Site):
    page = await (await site.user("viewer")).page("/jobs")
    assert "broken_import.py" in page
    assert "No module named &#39;web_jobs.no_such_module&#39;" in page


async def test_the_runs_of_a_removed_job_stay_readable_and_its_arguments_masked(site: Site):
    runs = await furnish(site)
    visitor = await site.user("operator")
    assert "no longer in the code" in await visitor.page("/jobs/jobs/RemovedJob")
    page = await visitor.page(f"/jobs/runs/{runs['removed']}")
    assert "4711" not in page
    assert "/retry" not in page


async def test_a_button_answers_with_a_message_that_is_shown_once(site: Site):
    visitor = await site.user("operator")
    answer = await visitor.send("/jobs/jobs/DailyReport/run", next="/jobs/jobs?show=scheduled")
    assert answer.headers["Location"] == "/jobs/jobs?show=scheduled"
    page = await visitor.page(answer.headers["Location"])
    assert "Daily Report started as run 1." in page
    assert 'href="/jobs/runs/1"' in page
    assert "started as run" not in await visitor.page("/jobs/jobs")


async def test_a_refusal_is_told_in_words(site: Site):
    run_id = await site.add_run("DailyReport", "succeeded")
    visitor = await site.user("operator")
    answer = await visitor.send(f"/jobs/runs/{run_id}/cancel", next=f"/jobs/runs/{run_id}")
    page = await visitor.page(answer.headers["Location"])
    assert 'class="toast bad"' in page
    assert "there is nothing to cancel" in page


async def test_a_form_runs_a_job_with_typed_arguments(site: Site):
    visitor = await site.user("operator")
    answer = await visitor.send(
        "/jobs/jobs/MailUser/run",
        **{
            "next": "run",
            "arg-user_id": "7",
            "arg-since": "2026-02-03",
            "arg-tone": "strict",
            "arg-copy_to": "a@x\n\n b@x \n",
            "arg-dry_run": "on",
            "arg-api_key": "sesame",
        },
    )
    assert answer.headers["Location"] == "/jobs/runs/1"
    run = (await (await site.program("viewer")).get("/api/runs/1")).json()
    assert run["arguments"] == {
        "user_id": 7,
        "since": "2026-02-03",
        "tone": "strict",
        "copy_to": ["a@x", "b@x"],
        "dry_run": True,
        "api_key": "••••••",
    }


async def test_a_form_that_is_wrong_comes_back_as_it_was_filled_in(site: Site):
    visitor = await site.user("operator")
    answer = await visitor.send(
        "/jobs/jobs/MailUser/run",
        **{"arg-user_id": "seven", "arg-tone": "strict", "arg-api_key": "sesame"},
    )
    assert answer.status_code == 422
    assert "user_id: input should be a valid integer" in answer.text
    assert 'value="seven"' in answer.text
    assert "<option selected>strict</option>" in answer.text
    assert "sesame" not in answer.text


async def test_a_job_is_paused_with_a_reason_until_a_time(site: Site):
    visitor = await site.user("operator")
    form = {"reason": "moving house", "until": "2036-01-02T08:30", "next": "/jobs/jobs/SyncStock"}
    await visitor.send("/jobs/jobs/SyncStock/pause", **form)
    page = await visitor.page("/jobs/jobs/SyncStock")
    assert "moving house" in page
    assert "2 Jan 2036" in page
    assert "Resume" in page
    job = (await (await site.program("viewer")).get("/api/jobs/SyncStock")).json()
    assert job["paused"]["until"] == "2036-01-02T07:30:00Z"  # Berlin in winter


@pytest.mark.parametrize("until", ["tomorrow", "2036-99-01T00:00"])
async def test_a_time_that_is_none_is_told_in_words(site: Site, until: str):
    visitor = await site.user("operator")
    answer = await visitor.send("/jobs/jobs/SyncStock/pause", until=until, next="/jobs/jobs")
    assert 'class="toast bad"' in await visitor.page(answer.headers["Location"])


async def test_a_refresh_gets_the_middle_of_the_page_only(site: Site):
    visitor = await site.user("operator")
    for path in ("/jobs", "/jobs/jobs", "/jobs/runs", "/jobs/jobs/DailyReport"):
        part = await visitor.page(path, headers={"HX-Request": "true"})
        assert part.count('id="live"') == 1
        assert "<nav" not in part.replace('<nav class="pages"', "")
        assert "<html" not in part


async def test_jobs_are_searched_and_sorted_out(site: Site):
    await site.add_run("SyncStock", "failed")
    visitor = await site.user("operator")
    assert "Sync Stock" not in await visitor.page("/jobs/jobs?q=managers")
    failing = await visitor.page("/jobs/jobs?show=failing")
    assert "Sync Stock" in failing
    assert 'id="job-DailyReport"' not in failing
    manual = await visitor.page("/jobs/jobs?show=manual")
    assert 'id="job-MailUser"' in manual
    assert 'id="job-SyncStock"' not in manual


@pytest.mark.parametrize(
    "query",
    [
        "state=x&since=x&until=x&before=x",
        "before=99999999999999999999",
        "since=2026-01-01",
        "q=%00",
    ],
)
async def test_an_address_that_makes_no_sense_shows_runs_all_the_same(site: Site, query: str):
    await (await site.user("viewer")).page(f"/jobs/runs?{query}")


@pytest.mark.parametrize("path", ["/jobs/jobs/Nix", "/jobs/runs/99", "/jobs/runs/x"])
async def test_a_page_that_is_not_there_says_so(site: Site, path: str):
    answer = await (await site.user("viewer")).get(path)
    assert answer.status_code == 404
    assert "No such" in answer.text
    assert 'href="/jobs"' in answer.text


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/jobs/", "/jobs"),
        ("/jobs/runs/?q=state%3Afailed", "/jobs/runs?q=state%3Afailed"),
        ("/jobs//evil.example/", "/jobs//evil.example"),
    ],
)
async def test_a_slash_at_the_end_of_an_address_leads_to_the_page(
    site: Site, path: str, leads_to: str
):
    answer = await (await site.user("viewer")).get(path)
    assert (answer.status_code, answer.headers["Location"]) == (307, leads_to)


async def test_old_runs_are_reached_page_by_page(site: Site):
    for _ in range(55):
        await site.add_run("DailyReport", "succeeded")
    visitor = await site.user("viewer")
    page = await visitor.page("/jobs/runs?job=DailyReport")
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older is not None
    rest = await visitor.page(older[1].replace("&amp;", "&"))
    assert rest.count('<tr id="run-') == 5
    assert "Newest" in rest


async def test_a_database_that_does_not_answer_is_told_in_words(site: Site):
    visitor, client = await site.user("viewer"), await site.program("viewer")
    await site.change(lambda db: db.exec_driver_sql("DROP TABLE c_JobRun"))
    page = await visitor.get("/jobs")
    assert page.status_code == 503
    assert "The database does not answer" in page.text
    answer = await client.get("/api/runs")
    assert answer.status_code == 503
    assert answer.json()["title"] == "The database does not answer"
    assert "c_JobRun" not in page.text + answer.text


async def test_history_without_runs_is_shown_too(site: Site):
    await site.add_attempt("DailyReport", None, Success=False, ErrorMessage="deadlock victim")
    visitor = await site.user("viewer")
    page = await visitor.page("/jobs/jobs/DailyReport")
    assert "Earlier attempts" in page
    assert "deadlock victim" in page


async def test_a_job_in_another_zone_shows_its_own_clock_too(site: Site):
    page = await (await site.user("viewer")).client.get("/jobs/jobs/DailyReport")
    assert "02:00 in Europe/London" in page.text


@pytest.mark.parametrize(
    ("mode", "words"),
    [("package", "the installed package"), ("vendored", "vendored in this project")],
)
async def test_the_system_page_says_which_scheduler_this_is(site: Site, monkeypatch, mode, words):
    monkeypatch.setattr("targcc_scheduler.web.dashboard.system.MODE", mode)
    page = await (await site.user("viewer")).page("/jobs/system")
    assert f"Scheduler <bdi>{__version__}</bdi>, {words}" in page


async def test_the_system_page_shows_alerts_that_are_not_over_and_those_that_did_not_go_out(
    site: Site,
):
    visitor = await site.user("viewer")
    assert 'id="alerts"' not in await visitor.page("/jobs/system")

    async def happens(db):
        now = site.scheduler.clock.now()
        notice = Happened(
            "x", "failure", "Daily", "", "<b>Daily</b> failed", None, "[]", escalates=False
        )
        await alert_model.note(db, notice, now)
        await error_groups.note_issue(
            db, "Daily", error_groups.ALERT, "slack: nobody answers there", now
        )

    await site.change(happens)
    page = await visitor.page("/jobs/system")
    assert "&lt;b&gt;Daily&lt;/b&gt; failed" in page
    assert "was not sent" in page
    assert "slack: nobody answers there" in page


async def test_a_search_is_shown_as_chips_and_kept_under_a_name(site: Site):
    wanted = await site.add_run("DailyReport", "failed", Message="read timeout")
    await site.add_run("DailyReport", "succeeded")
    visitor = await site.user("viewer")
    q = 'job:Daily* "timeout" state:failed'
    page = await visitor.page("/jobs/runs", params={"q": q})
    assert page.count('id="run-') == 1 or f"/jobs/runs/{wanted}" in page
    assert 'aria-label="Remove job:Daily*" href' in page or 'aria-label="Remove job:Daily*"' in page
    assert "/jobs/runs?q=job%3ADaily%2A+state%3Afailed" in page  # without the search text
    assert '<option value="state:failed">' in page
    assert '<option value="arg.user_id:">' in page
    assert (await visitor.send("/jobs/views", name="Timeouts", q=q)).status_code == 303
    other = await site.user("viewer", "another")
    assert "Timeouts" in await visitor.page("/jobs/runs")
    assert "Timeouts" not in await other.page("/jobs/runs")
    await visitor.send("/jobs/views/remove", name="Timeouts")
    assert 'class="views"' not in await visitor.page("/jobs/runs?q=x")


async def test_a_search_that_cannot_be_understood_is_marked(site: Site):
    await site.add_run("DailyReport", "failed")
    visitor = await site.user()
    page = await visitor.page("/jobs/runs?q=x+sate%3Afailed")
    assert "There is no key &#39;sate&#39; (did you mean state?)" in page
    assert "  x sate:failed\n    ^^^^^^^^^^^" in page
    for address in ("/jobs/inbox?q=sate%3Ax", "/jobs/bulk/new?do=retry&q=sate%3Ax"):
        assert "no key" in await visitor.page(address)
    wrong = await visitor.send("/jobs/bulk", do="cancel", q="sate:x")
    assert wrong.status_code == 303  # and no run has begun
    assert "DailyReport" not in await visitor.page("/jobs/bulk")
    client = await site.program("viewer")
    answer = await client.get("/api/runs?q=x+sate%3Afailed")
    assert (answer.status_code, answer.json()["position"]) == (422, 2)


async def test_the_inbox_shows_the_failures_of_which_a_run_fits(site: Site):
    await site.add_run("DailyReport", "failed", Message="ValueError: read timeout")
    await site.add_run("SyncStock", "failed", Message="WarehouseError: 503")
    page = await (await site.user("viewer")).page("/jobs/inbox?q=timeout")
    assert "read timeout" in page
    assert "WarehouseError" not in page
    client = await site.program("viewer")
    failures = (await client.get("/api/inbox?q=job:Sync*")).json()["failures"]
    assert [failure["job"] for failure in failures] == ["SyncStock"]


async def test_the_page_and_the_api_of_a_run_name_the_trace_of_who_enqueued_it(site: Site):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    run_id = await site.add_run("SyncStock", "succeeded", Trace=f"00-{trace}-00f067aa0ba902b7-01")
    visitor = await site.user("viewer")
    assert f"<code>{trace}</code>" in await visitor.page(f"/jobs/runs/{run_id}")
    site.scheduler.settings.trace_url = "https://traces.example.com/trace/{trace_id}"
    link = f'<a href="https://traces.example.com/trace/{trace}">'
    assert link in await visitor.page(f"/jobs/runs/{run_id}")
    program = await site.program("viewer")
    assert (await program.get(f"/api/runs/{run_id}")).json()["trace_id"] == trace


CELL = re.compile(r'<td(?P<start>[^>]*data-label="{{.*?}}"[^>]*)>(?P<content>.*?)</td>', re.DOTALL)
LONE_TIME = re.compile(
    r"(?:{% if [^%]*%})?{{ time\((?:(?!both).)*?\) }}(?:{% else %}[^{]*)?(?:{% endif %})?"
)


def test_a_time_in_a_card_has_its_name_beside_it():
    cells = [
        (path.name, cell["start"])
        for path in TEMPLATES.rglob("*.html")
        for cell in CELL.finditer(path.read_text(encoding="utf-8"))
        if LONE_TIME.fullmatch(cell["content"])
    ]

    assert len(cells) > 10
    assert [cell for cell in cells if "named" not in cell[1]] == []


async def test_the_guides_are_pages_with_links_that_lead_somewhere(site: Site):
    client = (await site.user("viewer")).client
    listed = await client.get("/jobs/help")
    assert listed.status_code == 200
    for name in ("jobs", "migration", "security"):
        assert f"/jobs/help/{name}" in listed.text
        page = await client.get(f"/jobs/help/{name}")
        assert page.status_code == 200
        ids = set(re.findall(r'id="([^"]+)"', page.text))
        assert set(re.findall(r'href="#([^"]+)"', page.text)) - {"main"} <= ids
    assert (await client.get("/jobs/help/other")).status_code == 404


class Readable(HTMLParser):
    """Collect what people read on a page: texts and labels, without code and names."""

    APART = frozenset({"bdi", "code", "kbd", "pre", "script", "style", "svg", "textarea"})
    VOID = frozenset({*Page.VOID, *Page.SHAPES, "path", "circle"})
    LABELS = ("title", "placeholder", "aria-label", "data-label", "hx-confirm")
    SAME = re.compile(
        r"\b(API|CPU|CSV|GET|JSON|MiB|MB|REST|Slack|Teams|UTC|cron|c_Job|c_LoggedJob|misfire|overlap|webhooks?)\b"
    )

    def __init__(self, page: str) -> None:
        super().__init__()
        self.english: list[str] = []
        self._open: list[bool] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        own = values.get("lang") == "en" or values.get("dir") in {"auto", "ltr"}
        for name in self.LABELS:
            if not own and tag != "time":
                self._read(values.get(name) or "")
        if tag not in self.VOID:
            above = bool(self._open) and self._open[-1]
            self._open.append(above or own or tag in self.APART)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not (self._open and self._open[-1]):
            self._read(data)

    def _read(self, text: str) -> None:
        while (rest := re.sub("\u2068[^\u2068\u2069]*\u2069", "", text)) != text:
            text = rest
        if re.search(r"[A-Za-z]{2}", self.SAME.sub("", text)):
            self.english.append(text.strip())


NAMES = re.compile(
    r"web-jobs|targcc \w+|REST API|\b(DailyReport|SyncStock|MailUser|SlowExport|RemovedJob|kind|strict|user_id|warning)\b|openapi\.json|\S+\.py|\b(critical|default)\b|webhooks|https://\S+|Europe/\w+|Daily\* SyncStock|job:\S+|state:\S+|since:\S+|\"timeout\""
)
"""Names of the test project, its arguments and levels of its log, and examples of names."""
MORE_PAGES = (
    *("/jobs/inbox", "/jobs/inbox?show=all", "/jobs/bulk", "/jobs/batches", "/jobs/flows"),
    *("/jobs/limits", "/jobs/webhooks", "/jobs/account", "/jobs/account/second-factor"),
    *("/jobs/people", "/jobs/calendars", "/jobs/runs?q=job:None", "/jobs/audit?actor=nobody"),
    "/jobs/jobs/DailyReport/backfill?since=2026-03-01T00:00&until=2026-03-04T00:00",
)


@pytest.mark.slow
async def test_every_page_is_all_in_hebrew(site: Site):
    """Names, code and units stay; a schedule, a role and an act of the audit are words."""
    runs = await furnish(site)
    visitor = await site.user("admin")
    left = {}
    for path in (*paths(runs), *MORE_PAGES):
        page = await visitor.page(path, headers={"Accept-Language": "he"})
        texts = {NAMES.sub("", text) for text in Readable(page).english}
        english = {text for text in texts if re.search("[A-Za-z]{2}", text)}
        if english:
            left[path] = english
    assert left == {}
    assert "בכל יום" in await visitor.page("/jobs/jobs", headers={"Accept-Language": "he"})
    assert "מנהל" in await visitor.page("/jobs", headers={"Accept-Language": "he"})
