"""Repeated `targcc-gen import-legacy --paused`: paused arrivals, and the rows that a cutover moves."""

import json
from datetime import datetime, timedelta

import pytest
from c_job_rows import cron_row
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.spec import load_spec

LOAD = cron_row(number=1, name="Nightly load", cron="0 2 * * *", proc="dbo.usp_Load")
MAIL = cron_row(number=2, name="Mail bills", cron="0 6 * * *", proc="dbo.usp_Mail")


class Shop:
    """Project that takes over the jobs of a server one by one."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "shop"

    def bring(self, *rows, paused=True, options=()):
        export = self.folder / "export.sql"
        export.write_text("".join(rows), encoding="utf-8")
        where = "--into" if self.root.exists() else "--new"
        words = ["import-legacy", str(export), "--timezone", "Asia/Jerusalem", where, self.root]
        words += ["--paused"] if paused else []
        done = CliRunner().invoke(main, [*map(str, words), *options], prog_name="targcc-gen")
        assert done.exit_code == 0, done.output
        return done.stdout

    @property
    def jobs(self):
        return load_spec(self.root / "targcc.yaml").jobs

    @property
    def moving(self):
        text = (self.root / "legacy/cutover.json").read_text(encoding="utf-8")
        return {job["name"]: job["id"] for job in json.loads(text)["jobs"]}


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path)
    made.bring(LOAD, MAIL)
    return made


@pytest.mark.parametrize("paused", [True, False])
def test_what_changes_there_comes_over_and_switches_nothing_on(shop, paused):
    later = cron_row(number=1, name="Nightly load", cron="30 3 * * *", proc="dbo.usp_Load")
    shop.bring(later, MAIL, paused=paused)

    assert shop.jobs["NightlyLoad"].cron == "30 3 * * *"
    assert all(job.paused for job in shop.jobs.values())
    assert shop.moving == {"Nightly load": "1", "Mail bills": "2"}


def test_a_job_keeps_its_name_in_the_list_when_it_is_renamed_there(shop):
    shop.bring(cron_row(number=1, name="Load all", cron="0 2 * * *", proc="dbo.usp_Load"), MAIL)

    assert shop.moving == {"Nightly load": "1", "Mail bills": "2"}


def test_only_jobs_of_the_project_are_listed(shop):
    removed = CliRunner().invoke(
        main, ["job", "NightlyLoad", "--remove", "--project", str(shop.root)]
    )
    assert removed.exit_code == 0, removed.output
    shop.bring(LOAD, MAIL)  # removed in the project, and stays removed
    assert shop.moving == {"Mail bills": "2"}

    tidy = cron_row(number=3, name="Tidy up")
    shop.bring(LOAD, tidy, options=("--old", "MailBills"))  # removed from the old table
    assert shop.moving == {"Tidy up": "3"}


def test_the_second_half_of_a_schedule_waits_for_a_person(tmp_path):
    day, runs = datetime(2026, 11, 24, 3, 0, 9), []  # noqa: DTZ001 - the old server's wall clock
    while len(runs) < 20:
        runs += [day] if day.day == 1 or day.weekday() == 0 else []
        day -= timedelta(days=1)
    history = "".join(
        "INSERT c_LoggedJob (ID, c_JobID, WhenStarted, enmRunStatus_JobStatus) VALUES"
        f" ({number}, 1, '{start:%Y-%m-%dT%H:%M:%S}', 'Success')\n"
        for number, start in enumerate(runs)
    )
    row = cron_row(number=1, cron="0 3 1 * 1", proc="dbo.usp_Load")
    made = Shop(tmp_path)
    output = made.bring(row, history)

    assert made.jobs["NightlyLoadOtherDays"].paused
    assert made.moving == {"Nightly load": "1"}
    assert "uv run targcc job resume NightlyLoadOtherDays" in output
    assert "job resume" not in made.bring(row, MAIL, history)


def test_the_dbas_scripts_are_written_beside_the_jobs_to_move(shop):
    shop.bring(LOAD, MAIL, cron_row(number=3, name="Tidy up", proc="dbo.usp_Tidy"))
    grants, copies, back = (
        (shop.root / "legacy" / f"{name}.sql").read_text(encoding="utf-8")
        for name in ("1-grants", "2-backup", "9-roll-back")
    )

    assert "GRANT EXECUTE ON dbo.usp_Tidy TO [targcc];" in grants
    assert "SELECT * INTO c_Job_before_targcc FROM c_Job;" in copies
    assert "WHERE ID IN (1, 2, 3)" in back
