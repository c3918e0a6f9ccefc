"""The calendar, the timeline, the heat map and the trend, as people and programs get them."""

import json
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from targcc_scheduler.cli.main import main
from targcc_scheduler.db.tables import job_link
from web_fixtures import Site

BERLIN = ZoneInfo("Europe/Berlin")


def _work() -> None:
    """A job's work."""


async def ran(
    site: Site, hours_ago: float, state: str, job: str = "DailyReport", **more: object
) -> int:
    """Insert a run and its attempt, started the given hours ago; return the run id."""
    slot = datetime.now(UTC) - timedelta(hours=hours_ago)
    start, end = slot + timedelta(seconds=40), slot + timedelta(minutes=10)
    times = {"ScheduledFor": slot, "StartedAt": start, "CompletedAt": end, "Attempt": 1}
    run = await site.add_run(job, state, **times)
    await site.add_attempt(
        job,
        run,
        StartedAt=start,
        CompletedAt=end,
        ScheduledFor=slot,
        DurationMs=560_000,
        Success=state == "succeeded",
        **more,
    )
    return run


@pytest.fixture
async def furnished(site: Site) -> Site:
    for number in range(4):
        site.scheduler.add_recurring(f"Night {number}", _work, "0 3 * * *")
    site.scheduler.add_recurring("Gap", _work, "30 2 * * *")
    site.scheduler.add_recurring("All day", _work, "*/15 * * * *")
    return site


async def test_a_person_sees_what_comes_what_ran_and_what_the_clocks_do(furnished: Site):
    good, bad = await ran(furnished, 5, "succeeded"), await ran(furnished, 3, "failed")
    viewer = await furnished.user("viewer")
    week = await viewer.page("/jobs/calendar")
    assert re.search(r"<b>7 jobs</b> at 03:00</a>", week)  # 02:00 in London, and a frequent job
    tomorrow = datetime.now(BERLIN) + timedelta(days=1)
    day = await viewer.page(f"/jobs/calendar?view=day&day={tomorrow:%Y-%m-%d}")
    assert "02:00 London" in day
    assert "every 15 minutes" in week
    now = datetime.now(BERLIN)
    year = now.year + (now > datetime(now.year, 3, 28, tzinfo=BERLIN))
    last = max(datetime(year, 3, day, tzinfo=BERLIN) for day in range(25, 32) if datetime(year, 3, day, tzinfo=BERLIN).weekday() == 6)  # fmt: skip
    spring = await viewer.page(f"/jobs/calendar?day={last:%Y-%m-%d}&view=day")
    assert "clocks jump from 02:00 to 03:00" in spring
    assert re.search(
        r'n-moved"[^>]*>moved</span>\s*<span class="soft"><span[^>]*>it runs at 03:00</span>:',
        spring,
    )
    assert "6 h" not in spring
    line = await viewer.page("/jobs/timeline")
    for run, words in ((good, "succeeded"), (bad, "failed")):
        assert re.search(rf'<a href="/jobs/runs/{run}" tabindex="-1"><title>Run {run}: {words}, ', line)  # fmt: skip
        assert f'href="/jobs/runs/{run}"><bdi>#{run}</bdi></a>' in line  # in the table
    assert "40 s late" in line
    [drawn] = re.findall(rf'<a href="/jobs/runs/{bad}" tabindex="-1">.*?</a>', line)
    assert 'fill="url(#hatch-failed)"' in drawn  # marked by a pattern besides the colour
    heat = await viewer.page("/jobs/heatmap?weeks=1&zone=Asia/Kolkata")
    assert "Times are in <bdi>Asia/Kolkata</bdi>; jobs run by" in heat
    assert "<caption" in heat
    job = await viewer.page("/jobs/jobs/DailyReport")
    assert 'aria-label="Duration by day, median and 95%"' in job
    assert 'aria-label="Delay by day, median and maximum"' in job
    for path in ("/jobs/calendar?day=x&zone=Nowhere", "/jobs/timeline?since=x&hours=7", "/jobs/heatmap?weeks=0&job=None"):  # fmt: skip
        await viewer.page(path)


async def test_a_program_gets_the_same(furnished: Site):
    run = await ran(furnished, 3, "failed")
    program = await furnished.program("viewer")

    async def get(path: str, status: int = 200):
        answer = await program.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    coming = await get("/api/calendar?days=2")
    assert coming["number"] == sum(hour["number"] for hour in coming["hours"])
    assert coming["frequent"]["All day"] in {191, 192, 193}
    assert 5 in {len(entry["jobs"]) for entry in coming["crowded"]}
    change = await get("/api/calendar?start=2027-03-27T00:00:00Z&days=2")
    [berlin] = [entry for entry in change["clock_changes"] if entry["zone"] == "Europe/Berlin"]
    kinds = {entry["job"]: entry["kind"] for entry in berlin["jobs"]}
    assert kinds["Gap"] == "moved"
    assert kinds["All day"] == "skipped"
    line = await get("/api/timeline?job=DailyReport")
    [row] = [row for group in line["groups"] for row in group["rows"]]
    assert [(bar["run"], bar["state"]) for bar in row["bars"]] == [(run, "failed")]
    trend = await get("/api/jobs/DailyReport/trend?days=2")
    assert sum(day["failed"] for day in trend["days"]) == 1
    heat = await get("/api/heatmap?zone=UTC")
    assert [(entry["number"], entry["bad"]) for entry in heat["hours"] if entry["number"]] == [
        (1, 1)
    ]
    assert await get("/api/heatmap?zone=Greenwich Standard Time") == heat
    for wrong in ("calendar?start=2027-03-27T00:00:00", "calendar?start=2999-03-27T00:00:00Z", "timeline?since=2027-01-01T00:00:00Z&until=2027-01-05T00:00:00Z", "heatmap?zone=Nowhere"):  # fmt: skip
        await get(f"/api/{wrong}", 422)


async def follow(site: Site, child: int, parent: int) -> None:
    row = {"ChildId": child, "ParentKind": "run", "ParentId": parent, "Condition": "success"}
    row |= {"Quorum": "all", "Otherwise": "discard", "Outcome": "succeeded"}
    await site.change(lambda db: db.execute(job_link.insert().values(row)))


async def test_runs_that_follow_each_other_are_joined_and_told_with_their_state(site: Site):
    first, good = await ran(site, 5, "succeeded"), await ran(site, 4, "succeeded")
    other, alone = await ran(site, 3, "failed", job="SlowExport"), await ran(site, 2, "succeeded")
    await follow(site, good, first)
    await follow(site, other, good)
    viewer, program = await site.user("viewer"), await site.program("viewer")
    page = await viewer.page("/jobs/timeline")
    text = "chain of Daily Report: failed at Slow Export"
    for run in (first, good, other):
        assert re.search(rf"<title>Run {run}: [^<]*; {text}</title>", page)
    assert not re.search(rf"<title>Run {alone}: [^<]*chain", page)
    drawn = re.findall(r'<g class="tie bad"><title>([^<]*)</title>(.*?)</g>', page)
    assert {title for title, _ in drawn} == {"Chain of Daily Report: failed at Slow Export"}
    assert all("<line " in shapes for _, shapes in drawn)
    for job in ("DailyReport", "SlowExport"):
        _, _, row = page.partition(f'aria-label="{job}: ')
        assert '<g class="tie bad">' in row.partition("</svg>")[0]
    assert 'class="tie-layer"' in page  # a line through the queue's heading between the two bars
    _, _, table = page.partition("<summary>As a table")
    for before, run in ((first, good), (good, other)):
        _, _, row = table.partition(f"<bdi>#{run}</bdi></a></td>")  # the cell of the run itself
        assert f'/runs/{before}"' in row.partition("</tr>")[0]
    assert "dependent run" in page
    [chain] = (await program.get("/api/timeline")).json()["chained"]
    assert (chain["state"], chain["at"], chain["runs"]) == (
        "failed",
        "SlowExport",
        [first, good, other],
    )
    assert chain["ties"] == [{"before": first, "run": good}, {"before": good, "run": other}]


@pytest.mark.slow
def test_a_terminal_gets_the_same(database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)

    def say(*arguments: str) -> str:
        result = CliRunner().invoke(main, arguments, prog_name="targcc")
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "DailyReport" in say("upcoming", "--days", "2")
    assert json.loads(say("upcoming", "--json"))["minutes"]
    assert "o upcoming" in say("timeline", "--for", "48h")
    assert json.loads(say("timeline", "--json"))["groups"] is not None
    assert say("heatmap", "--weeks", "1").count("\n") == 25
    assert json.loads(say("job", "trend", "DailyReport", "--json"))["days"]
    assert say("upcoming", "--queue", "critical").startswith("No upcoming slots")
    say("job", "pause", "DailyReport")
    assert re.match(r"SyncStock: \d+ times, all day long\n", say("upcoming"))
