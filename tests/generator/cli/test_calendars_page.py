"""The project from the calendars page works, and its commands answer as the page shows."""

import re
import shlex
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli.schedule_words import job_words
from targcc_gen.render import render_project
from targcc_gen.spec import dump_spec, parse_spec
from targcc_scheduler.cli.main import main

PAGE = Path(__file__).resolve().parents[3] / "docs" / "calendars.md"
SPEC = re.compile(r"^<!-- spec -->\n```yaml\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a page with their output lines."""
    commands: list[tuple[str, list[str]]] = []
    for line in "".join(CONSOLE.findall(page)).splitlines():
        if line.startswith("$ "):
            commands.append((line.removeprefix("$ "), []))
        else:
            commands[-1][1].append(line)
    return commands


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Render the page's project and configure it in this process."""
    spec = parse_spec(SPEC.search(PAGE.read_text(encoding="utf-8"))["text"])
    assert parse_spec(dump_spec(spec)) == spec
    for file in render_project(spec):
        if file.path.startswith("src/"):
            place = tmp_path / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.content)
    before = set(sys.modules)
    monkeypatch.setattr("targcc_scheduler.project._configured", None)
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    monkeypatch.setenv("TARGCC_DATABASE_URL", f"sqlite:///{tmp_path / 'jobs.db'}")
    monkeypatch.setenv("TARGCC_KEEPALIVE", "false")
    __import__("acme_jobs.scheduler")
    yield tmp_path / "src" / "acme_jobs"
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "acme_jobs":
            del sys.modules[name]


def targcc(*arguments: str) -> str:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_the_page_s_project_answers_as_the_page_says():
    page = PAGE.read_text(encoding="utf-8")
    commands = blocks(page)
    assert len(commands) == 6
    for command, shown in commands:
        program, *arguments = shlex.split(command)
        assert program == "targcc"
        output = targcc(*arguments).splitlines()
        assert [line for line in shown if line not in output] == [], (command, output)
    info = targcc("job", "info", "DailySales")
    assert "office" in info
    assert "or when office is open again" in info

    from targcc_scheduler.kernel.jobs.registry import JobRegistry
    from targcc_scheduler.kernel.jobs.slot_changes import changes, moved_there
    from targcc_scheduler.kernel.queries.jobs import next_run

    jobs = JobRegistry("acme_jobs.jobs")
    september = datetime(2026, 9, 20, 12, tzinfo=UTC)
    daily, month = jobs.find("DailySales"), jobs.find("MonthEnd")
    coming = next_run(daily, now=september, pause=None)
    [change] = changes(daily, [coming], september)
    quoted = re.findall(r"\*(?:The|Its) slot (?:of|is) (.+?)\*", page)
    assert quoted == [change.text, moved_there(month, datetime(2026, 4, 30, 4, tzinfo=UTC))]
    assert moved_there(daily, coming).startswith("also for the slot of 2026-09-21 02:00")
    april = next_run(month, now=datetime(2026, 4, 20, tzinfo=UTC), pause=None)
    assert april.date() == date(2026, 4, 30)


def test_the_generator_s_preview_of_a_job_respects_its_calendars():
    page = PAGE.read_text(encoding="utf-8")
    text = SPEC.search(page)["text"].replace(
        "include: weekend", "include: weekend\n    ics: days.ics"
    )
    spec, eve = parse_spec(text), datetime(2026, 9, 20, 12, tzinfo=UTC)
    words = job_words(spec, "DailySales", now=eve)
    assert [run["local"][:16] for run in words["next"]] == ["2026-09-22T02:00", "2026-09-23T02:00"]
    assert words["notes"][:2] == [
        "or when office is open again",
        "the days in days.ics are not counted here",
    ]
    assert job_words(spec, "MonthEnd", now=eve)["notes"][0] == "or before office closes"


def test_a_calendar_s_file_is_read_in_the_package_s_folder_and_a_wrong_one_is_told(project):
    from targcc_scheduler.core.errors import JobError
    from targcc_scheduler.kernel.jobs.declaration import declare
    from targcc_scheduler.project import Project
    from targcc_scheduler.schedules.errors import CronError

    calendars = {"feed": {"ics": "days.ics"}, "plain": {"off": "sunday"}}
    whole = Project("acme", "acme_jobs", calendars=calendars)
    wanted = declare(print, "0 2 * * *", name="Report", calendar="feed")
    other = declare(print, "0 2 * * *", name="Report", calendar="plain")
    with pytest.raises(CronError, match=r"the file of calendar feed cannot be read: .*days\.ics"):
        wanted.complete(whole)
    assert other.complete(whole).calendars == ("plain",)  # a project without the calendar's file
    event = "BEGIN:VEVENT\nDTSTART;VALUE=DATE:20260921\nSUMMARY:Yom Kippur\nEND:VEVENT\n"
    (project / "days.ics").write_text(f"BEGIN:VCALENDAR\n{event}END:VCALENDAR\n", encoding="utf-8")
    job = wanted.complete(whole)
    before = datetime(2026, 9, 20, 12, tzinfo=UTC)
    assert job.schedule.next(before, "UTC").date() == date(2026, 9, 22)
    with pytest.raises(CronError, match="there is no calendar"):
        declare(print, "0 2 * * *", name="Report", calendar="nix").complete(whole)
    with pytest.raises(JobError, match="on_holiday is skip, next or previous"):
        declare(print, "0 2 * * *", name="Report", calendar="feed", on_holiday="move")
