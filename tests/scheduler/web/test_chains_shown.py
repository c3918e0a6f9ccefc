"""Chains of jobs on the pages, in the API and on the command line."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner
from targcc_scheduler import JobType, Settings, job
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.identity import Grant, Role
from targcc_scheduler.db.tables import job_link
from targcc_scheduler.features.accounts import roles, sessions
from web_fixtures import Site, running


@job(JobType.MANUAL)
async def daily_report() -> None: ...


@job(after=[daily_report])
async def check_report() -> None: ...


@job(after=[check_report])
async def mail_report() -> None: ...


@job(JobType.MANUAL)
async def apart() -> None: ...


@pytest.fixture
async def site(settings: Settings) -> AsyncIterator[Site]:
    """The app with the jobs of this module."""
    own = settings.model_copy(update={"jobs_package": __name__})
    async with running(own, work=False) as running_site:
        yield running_site


@pytest.fixture
async def night(site: Site) -> dict[str, int]:
    """Create a night in which the report succeeded and its check failed; return the run ids."""
    names = ("DailyReport", "CheckReport", "MailReport")
    states = ("succeeded", "failed", "cancelled")
    runs = {
        name: await site.add_run(name, state) for name, state in zip(names, states, strict=True)
    }
    for child, parent in (("CheckReport", "DailyReport"), ("MailReport", "CheckReport")):
        link = {
            "ChildId": runs[child],
            "ParentKind": "run",
            "ParentId": runs[parent],
            "Condition": "success",
            "Quorum": "all",
            "Otherwise": "discard",
            "Outcome": states[names.index(parent)],
        }
        await site.change(lambda db, row=link: db.execute(job_link.insert().values(row)))
    return runs


def flat(page: str) -> str:
    return " ".join(page.split())


async def test_pages_show_a_chain_as_one_thing(site: Site, night: dict[str, int]):
    viewer = await site.user("viewer")
    overview = flat(await viewer.page("/jobs"))
    assert "<b>Check Report failed, in the chain of Daily Report</b>" in overview
    _, _, board = overview.partition('id="chain-DailyReport"')
    summary, _, rest = board.partition("</summary>")
    assert "<bdi>Daily Report</bdi></b>" in summary
    assert "failed</span>" in summary
    assert "at <bdi>Check Report</bdi>" in summary
    inside, _, apart = rest.partition("</details>")
    for name, run_id in night.items():
        assert f'href="/jobs/jobs/{name}"' in inside
        assert f'href="/jobs/runs/{run_id}"' in inside
        assert f'href="/jobs/jobs/{name}"' not in apart
    jobs = flat(await viewer.page("/jobs/jobs"))
    at = [jobs.index(f'id="{element_id}"') for element_id in ("chain-DailyReport", "job-DailyReport", "job-CheckReport", "job-MailReport", "job-Apart")]  # fmt: skip
    assert at == sorted(at)
    assert "chain-DailyReport" not in await viewer.page("/jobs/jobs?q=Apart")
    for page in ("/jobs/jobs/MailReport", f"/jobs/runs/{night['MailReport']}"):
        shown = flat(await viewer.page(page))
        _, _, line = shown.partition('aria-label="Chain"')
        line, _, _ = line.partition("</nav>")
        links = [f'href="/jobs/runs/{run_id}"' in line for run_id in night.values()]
        if "/runs/" in page:
            assert "at <bdi>Check Report</bdi>" in line
        assert all(links), page
        assert line.count("aria-current") == 1
    assert 'aria-label="Chain"' not in await viewer.page("/jobs/jobs/Apart")


async def test_programs_and_commands_are_told_the_same(
    site: Site, night: dict[str, int], database_url, monkeypatch
):
    program = await site.program("viewer")
    [chain] = (await program.get("/api/chains")).json()
    stands = {
        "name": "DailyReport",
        "jobs": ["DailyReport", "CheckReport", "MailReport"],
        "state": "failed",
        "at": "CheckReport",
        "run_id": night["CheckReport"],
    }
    assert chain.items() >= stands.items()
    assert [entry["state"] for entry in chain["steps"]] == ["succeeded", "failed", "cancelled"]
    all_jobs = (await program.get("/api/jobs")).json()
    words = {entry["name"]: entry["schedule_words"] for entry in all_jobs}
    assert words["MailReport"] == "after another job"
    assert words["Apart"] == "on request"
    jobs = {entry["name"]: entry["chain"] for entry in all_jobs}
    assert jobs["MailReport"] == stands
    assert jobs["Apart"] is None
    assert (await program.get("/api/jobs/MailReport")).json()["chain"] == stands
    assert (await program.get("/api/jobs/Apart")).json()["chain"] is None
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", __name__)

    async def targcc(*words: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, main, ["job", *words])
        assert result.exit_code == 0, result.output
        return result.output

    standing = f"failed at CheckReport, run {night['CheckReport']}"
    listed = (await targcc("list")).splitlines()
    assert listed[-1].split("  ") == [
        "DailyReport",
        standing,
        "DailyReport > CheckReport > MailReport",
    ]
    assert f"DailyReport > CheckReport > MailReport: {standing}" in await targcc(
        "info", "MailReport"
    )
    assert json.loads(await targcc("info", "MailReport", "--json"))["chain"] == stands


async def test_a_run_is_told_with_its_whole_chain(
    site: Site, night: dict[str, int], database_url, monkeypatch
):
    program = await site.program("viewer")
    report, check, mail = night.values()
    for run_id in night.values():
        chain = (await program.get(f"/api/runs/{run_id}")).json()["chain"]
        assert (chain["state"], chain["at"], chain["run_id"]) == ("failed", "CheckReport", check)
        actual = [
            [(run["id"], run["job"], run["state"]) for run in level] for level in chain["levels"]
        ]
        assert actual == [
            [(report, "DailyReport", "succeeded")],
            [(check, "CheckReport", "failed")],
            [(mail, "MailReport", "cancelled")],
        ]
    apart = await site.add_run("Apart", "succeeded")
    assert (await program.get(f"/api/runs/{apart}")).json()["chain"] is None
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", __name__)
    shown = await asyncio.to_thread(CliRunner().invoke, main, ["run", "show", str(mail)])
    _, _, actual = shown.output.partition("chain")
    assert [line.strip() for line in actual.splitlines()][:4] == [
        f"failed at CheckReport, run {check}",
        f"- run {report} of DailyReport succeeded",
        f"- run {check} of CheckReport failed",
        f"* run {mail} of MailReport cancelled",
    ]


async def test_a_run_that_was_done_again_well_mends_the_state_of_its_chain(
    site: Site, night: dict[str, int]
):
    report, check, _ = night.values()
    again = await site.add_run("CheckReport", "succeeded", RetryOf=check)
    link = {"ChildId": again, "ParentKind": "run", "ParentId": report, "Condition": "success"}
    link |= {"Quorum": "all", "Otherwise": "discard", "Outcome": "succeeded"}
    await site.change(lambda db: db.execute(job_link.insert().values(link)))
    program = await site.program("viewer")
    chain = (await program.get(f"/api/runs/{report}")).json()["chain"]
    assert (chain["state"], chain["at"]) == ("cancelled", "MailReport")


async def test_a_token_for_single_jobs_is_not_told_of_the_others(site: Site, night: dict[str, int]):
    token = await site.change(
        lambda db: sessions.create_token(
            db,
            "starter",
            Role.OPERATOR,
            by="test",
            now=site.scheduler.clock.now(),
            jobs=["CheckReport"],
        )
    )
    client = (await site.stranger()).client
    client.headers["Authorization"] = f"Bearer {token}"
    answer = await client.get(f"/api/runs/{night['CheckReport']}")
    assert (answer.status_code, answer.json()["chain"]) == (200, None)


async def test_a_role_for_some_jobs_sees_the_part_of_a_chain_that_it_is_about(
    site: Site, night: dict[str, int]
):
    given = [Grant(Role.VIEWER, "CheckReport"), Grant(Role.VIEWER, "MailReport")]
    await site.change(lambda db: roles.create(db, "checks", given))
    dana = await site.user("checks", "dana")
    [chain] = (await dana.get("/api/chains")).json()
    assert chain["jobs"] == ["CheckReport", "MailReport"]
    for page in ("/jobs", "/jobs/jobs", "/jobs/jobs/MailReport"):
        assert "Daily" not in await dana.page(page)
    run = await dana.page(f"/jobs/runs/{night['MailReport']}")
    assert f'href="/jobs/runs/{night["DailyReport"]}"' not in run
    visible = (await dana.get(f"/api/runs/{night['MailReport']}")).json()["chain"]
    assert [entry["job"] for level in visible["levels"] for entry in level] == [
        "CheckReport",
        "MailReport",
    ]
