"""Every list of jobs marks a job that was removed from targcc.yaml."""

from dataclasses import replace

import pytest
from targcc_scheduler.cli.commands import jobs as command_jobs
from targcc_scheduler.web.api.schemas import JobOut
from web_fixtures import Site

WORDS = "in code, not in the spec"


@pytest.fixture
def left(site: Site):
    """The site with one job removed from the spec."""
    definitions = site.scheduler._registry.definitions
    definitions["DailyReport"] = replace(definitions["DailyReport"], left_spec=True)
    return site


async def test_pages_api_and_command_line_say_so_with_what_to_do(left: Site, capsys):
    dana = await left.user()
    every = await dana.page("/jobs/jobs")
    assert every.count(WORDS) == 1
    for page in (every, await dana.page("/jobs/jobs/DailyReport")):
        assert "targcc-gen pull DailyReport" in page
        assert "targcc-gen job DailyReport --remove" in page
    program = await left.program()
    jobs = (await program.get("/api/jobs")).json()
    assert [job["name"] for job in jobs if job["left_spec"]] == ["DailyReport"]
    capsys.readouterr()
    command_jobs._print_left([JobOut.model_validate(job) for job in jobs])
    assert capsys.readouterr().out == (
        f"DailyReport: {WORDS}. Adopt it: targcc-gen pull DailyReport; remove it: targcc-gen job DailyReport --remove\n"
    )
