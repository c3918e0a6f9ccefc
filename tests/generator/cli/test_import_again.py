"""A repeated `targcc-gen import-legacy --into`: changes in the old table, changes in the project, and conflicts."""

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from c_job_rows import classic_row, cron_row
from click.testing import CliRunner
from targcc_gen.cli import main

ZONE = ("--timezone", "Asia/Jerusalem")
BASE = ".targcc/legacy.jsonl"


class Shop:
    """Project made from old rows, and further imports of other rows."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.root = folder / "shop"
        self.stderr = ""

    def make(self, *rows, status=0, options=()):
        return self._run(
            rows, "--new", str(self.root), "--scheduler", "package", *options, status=status
        )

    def again(self, *rows, status=0, options=()):
        return self._run(rows, "--into", str(self.root), *options, status=status)

    def _run(self, rows, *options, status):
        export = self.folder / "export.sql"
        export.write_text("".join(rows), encoding="utf-8")
        words = ["import-legacy", str(export), *ZONE, *options]
        done = CliRunner().invoke(main, words, prog_name="targcc-gen")
        assert done.exit_code == status, done.output
        assert "Traceback" not in done.stderr
        self.stderr = done.stderr
        return done.stdout

    def gen(self, *words):
        done = CliRunner().invoke(main, [*words, "--project", str(self.root)])
        assert done.exit_code == 0, done.output
        return done.stdout

    @property
    def spec(self):
        return (self.root / "targcc.yaml").read_text(encoding="utf-8")

    def edit(self, before, after, path="targcc.yaml"):
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert before in text
        file.write_text(text.replace(before, after, 1), encoding="utf-8")

    def module(self, name):
        path = self.root / f"src/shop/jobs/{name}.py"
        return path.read_text(encoding="utf-8") if path.exists() else None

    def files(self):
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file()
        }


LOAD = cron_row(number=1, name="Nightly load", cron="0 2 * * *", proc="dbo.usp_Load")
MAIL = cron_row(number=2, name="Mail bills", cron="0 6 * * *", proc="dbo.usp_Mail")
TIDY = cron_row(number=3, name="Tidy up", cron="0 4 * * SUN", proc="dbo.usp_Tidy")
ALL = (LOAD, MAIL, TIDY)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    made = Shop(tmp_path_factory.mktemp("opened"))
    made.make(*ALL)
    return made


@pytest.fixture
def shop(opened, tmp_path):
    shutil.copytree(opened.folder, tmp_path, dirs_exist_ok=True)
    return Shop(tmp_path)


def lines_of(output, kind):
    return [line for line in output.splitlines() if line.startswith(kind)]


def test_the_same_export_again_changes_no_byte(shop):
    before = shop.files()
    output = shop.again(*ALL)

    assert shop.files() == before
    assert "unchanged 3 jobs that the project has already" in output


def test_what_changed_there_only_is_taken_into_spec_decorator_and_procedure(shop):
    later = cron_row(number=1, name="Nightly load", cron="30 3 * * *", proc="dbo.usp_Load2")
    output = shop.again(later, MAIL, TIDY)

    assert lines_of(output, "changed")[0].split(None, 2)[2] == (
        "schedule: cron 0 2 * * * → cron 30 3 * * *; procedure: dbo.usp_Load → dbo.usp_Load2"
    )
    assert 'cron: "30 3 * * *"' in shop.spec
    assert '"30 3 * * *"' in shop.module("nightly_load")
    assert 'PROCEDURE = "dbo.usp_Load2"' in shop.module("nightly_load")
    before = shop.files()
    shop.again(later, MAIL, TIDY)
    assert shop.files() == before
    assert "Nothing to do" in shop.gen("regenerate")


def test_an_edited_module_keeps_its_edits_when_the_procedure_changes_there(shop):
    path = "src/shop/jobs/nightly_load.py"
    shop.edit("        ctx.log.info(", '        ctx.log.info("mine")\n        ctx.log.info(', path)
    shop.again(cron_row(number=1, proc="dbo.usp_Load2"), MAIL, TIDY)

    assert 'ctx.log.info("mine")' in shop.module("nightly_load")
    assert 'PROCEDURE = "dbo.usp_Load2"' in shop.module("nightly_load")


def test_what_changed_here_only_stays(shop):
    shop.edit('cron: "0 2 * * *"', 'cron: "0 1 * * *" # earlier')
    shop.gen("regenerate")
    before = shop.spec
    output = shop.again(*ALL)

    assert "schedule: cron 0 1 * * * here, cron 0 2 * * * there" in lines_of(output, "kept")[0]
    assert shop.spec == before


def test_changes_of_different_fields_on_both_sides_are_both_there(shop):
    shop.edit('cron: "0 2 * * *"', 'timeout: 30m  # mine\n    cron: "0 2 * * *"  # at night')
    shop.gen("regenerate")
    shop.again(cron_row(number=1, cron="0 3 * * *", proc="dbo.usp_Load"), MAIL, TIDY)

    assert "timeout: 30m  # mine" in shop.spec
    assert 'cron: "0 3 * * *"  # at night' in shop.spec
    assert 'timeout="30m"' in shop.module("nightly_load")
    assert '"0 3 * * *"' in shop.module("nightly_load")


def test_what_both_changed_is_a_conflict_and_nothing_is_written(shop):
    shop.edit('cron: "0 2 * * *"', 'cron: "0 1 * * *"')
    before = shop.files()
    rows = (cron_row(number=1, cron="0 3 * * *", proc="dbo.usp_Load"), cron_row(number=2, name="Mail bills", cron="5 6 * * *", proc="dbo.usp_Mail"), TIDY)  # fmt: skip
    output = shop.again(*rows, status=3)

    assert (
        "schedule: mine cron 0 1 * * *, old cron 0 3 * * *, it was cron 0 2 * * *"
        in lines_of(output, "conflict")[0]
    )
    assert "1 conflict: nothing was written. Choose with --mine JOB[.FIELD]" in shop.stderr
    assert shop.files() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "cron"),
    [
        (("--old", "NightlyLoad"), "0 3 * * *"),
        (("--old", "nightly load.cron"), "0 3 * * *"),
        (("--mine", "NightlyLoad.schedule"), "0 1 * * *"),
        (("--mine", "."), "0 1 * * *"),
        (("--old", ".", "--mine", "NightlyLoad"), "0 1 * * *"),
    ],
)
def test_a_person_decides_by_job_or_field(shop, choice, cron):
    shop.edit('cron: "0 2 * * *"', 'cron: "0 1 * * *"')
    shop.gen("regenerate")
    rows = cron_row(number=1, cron="0 3 * * *", proc="dbo.usp_Load"), MAIL, TIDY
    shop.again(*rows, options=choice)

    assert f'cron: "{cron}"' in shop.spec
    assert f'"{cron}"' in shop.module("nightly_load")
    before = shop.files()
    shop.again(*rows)
    assert shop.files() == before


@pytest.mark.parametrize(("choice", "cron"), [("--old", "0 3 * * *"), ("--mine", "0 1 * * *")])
def test_an_edit_of_the_decorator_itself_is_a_conflict_too(shop, choice, cron):
    path = "src/shop/jobs/nightly_load.py"
    shop.edit('"0 2 * * *"', '"0 1 * * *"', path)
    before = shop.files()
    rows = cron_row(number=1, cron="0 3 * * *", proc="dbo.usp_Load"), MAIL, TIDY
    output = shop.again(*rows, status=3)

    assert f"conflict  {path}" in output
    assert "--mine JOB keeps what you wrote" in shop.stderr
    assert shop.files() == before
    shop.again(*rows, options=(choice, "NightlyLoad"))
    assert f'"{cron}"' in shop.module("nightly_load")


def test_a_side_of_a_named_job_counts_for_all_of_it(shop):
    later = cron_row(number=1, cron="0 3 * * *", proc="dbo.usp_Load"), MAIL, TIDY
    shop.again(*later, options=("--mine", "NightlyLoad"))
    assert 'cron: "0 2 * * *"' in shop.spec
    shop.again(*later, options=("--old", "NightlyLoad.cron"))
    assert 'cron: "0 3 * * *"' in shop.spec


def test_a_choice_that_names_no_job_is_refused(shop):
    shop.again(*ALL, options=("--old", "NightlyLod"), status=2)

    assert 'did you mean "NightlyLoad"?' in shop.stderr


def test_a_renamed_row_keeps_its_key_and_its_history(shop):
    output = shop.again(
        cron_row(number=1, name="Load of the night", proc="dbo.usp_Load"), MAIL, TIDY
    )

    assert (
        '"Nightly load" is "Load of the night" now; it keeps its key and its history'
        in lines_of(output, "renamed")[0]
    )
    assert shop.spec.count("dbo.usp_Load") == 1
    assert "display_name: Load of the night" in shop.spec
    module = shop.module("nightly_load")
    assert 'display_name="Load of the night"' in module
    assert 'name="Nightly load"' in module
    history = "INSERT c_LoggedJob (ID, c_JobID, WhenStarted, enmRunStatus_JobStatus) VALUES (1, 1, '2026-01-02', 'Success')\n"
    shop.again(
        cron_row(number=1, name="Load of the night", proc="dbo.usp_Load"), MAIL, TIDY, history
    )
    import gzip

    with gzip.open(shop.root / "data/legacy_history.jsonl.gz", "rt") as stream:
        assert json.loads(next(stream))["JobName"] == "Nightly load"


def test_names_that_two_rows_swap_are_two_renames(shop):
    shop.again(
        cron_row(number=1, name="Mail bills", cron="0 2 * * *", proc="dbo.usp_Load"),
        cron_row(number=2, name="Nightly load", cron="0 6 * * *", proc="dbo.usp_Mail"),
        TIDY,
    )

    assert 'display_name="Mail bills"' in shop.module("nightly_load")
    assert 'PROCEDURE = "dbo.usp_Load"' in shop.module("nightly_load")
    assert 'display_name="Nightly load"' in shop.module("mail_bills")
    assert len(list((shop.root / "src/shop/jobs").glob("*.py"))) == 4


def test_a_new_row_under_the_old_name_of_a_renamed_one_is_a_job_of_its_own(shop):
    output = shop.again(
        cron_row(number=1, name="Old load", proc="dbo.usp_Load"),
        MAIL,
        TIDY,
        cron_row(number=9, name="Nightly load", cron="0 5 * * *", proc="dbo.usp_New"),
    )

    assert lines_of(output, "added")[0].split()[1] == "NightlyLoad2"
    assert 'PROCEDURE = "dbo.usp_Load"' in shop.module("nightly_load")
    assert 'PROCEDURE = "dbo.usp_New"' in shop.module("nightly_load2")


def test_a_row_with_a_new_id_and_its_old_name_is_the_same_job(shop):
    before = shop.spec
    shop.again(cron_row(number=71, proc="dbo.usp_Load"), MAIL, TIDY)

    assert shop.spec == before
    assert '"row": "71"' in (shop.root / BASE).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_row_switched_off_there_is_paused_here(shop):
    output = shop.again(cron_row(number=1, proc="dbo.usp_Load", active=0), MAIL, TIDY)

    assert "paused here too" in lines_of(output, "switched off")[0]
    assert "paused=True" in shop.module("nightly_load")
    assert "uv run targcc job pause NightlyLoad" in output
    output = shop.again(*ALL)
    assert "not paused any more" in lines_of(output, "switched on")[0]
    assert "paused" not in shop.module("nightly_load")


def test_a_row_that_is_gone_there_takes_its_job_along(shop):
    output = shop.again(LOAD, MAIL)

    assert "gone there" in lines_of(output, "removed")[0]
    assert "TidyUp" not in shop.spec
    assert shop.module("tidy_up") is None


@pytest.mark.parametrize("where", ["spec", "module"])
def test_a_row_that_is_gone_there_and_was_worked_on_here_is_a_conflict(shop, where):
    if where == "spec":
        shop.edit('cron: "0 4 * * SUN"', 'cron: "0 5 * * SUN"')
        shop.gen("regenerate")
    else:
        shop.edit("ctx.log.info(", "ctx.log.debug(", "src/shop/jobs/tidy_up.py")
    before = shop.files()
    output = shop.again(LOAD, MAIL, status=3)

    assert "gone there, and you" in lines_of(output, "conflict")[0]
    assert shop.files() == before
    shop.again(LOAD, MAIL, options=("--mine", "TidyUp"))
    assert "TidyUp" in shop.spec
    shop.again(LOAD, MAIL)
    assert "TidyUp" in shop.spec


def test_when_most_rows_are_gone_somebody_is_asked(shop):
    shop.again(*ALL, cron_row(number=4, name="Fourth"), cron_row(number=5, name="Fifth"))
    before = shop.spec
    output = shop.again(LOAD, status=3)
    assert "say --partial" in output
    shop.again(LOAD, options=("--partial",))
    assert shop.spec == before
    shop.again(LOAD, options=("--old", "."))
    assert "MailBills" not in shop.spec


def test_a_job_that_was_removed_here_does_not_come_back(shop):
    shop.gen("job", "--remove", "TidyUp")
    output = shop.again(*ALL)

    assert "removed here: it stays so" in lines_of(output, "left out")[0]
    assert shop.module("tidy_up") is None
    changed = cron_row(number=3, name="Tidy up", cron="0 5 * * SUN", proc="dbo.usp_Tidy")
    assert "removed here, changed there" in shop.again(LOAD, MAIL, changed, status=3)
    shop.again(LOAD, MAIL, changed, options=("--old", "TidyUp"))
    assert '"0 5 * * SUN"' in shop.module("tidy_up")


def test_rows_of_another_server_are_recognised_and_may_have_a_name_of_their_own(shop):
    strangers = [
        cron_row(number=number, name=f"Till {number}", cron="0 9 * * *", proc=f"usp_Till{number}")
        for number in (1, 2, 3)
    ]
    before = shop.files()
    shop.again(*strangers, status=2)
    assert "another table than the one that was imported as c_Job: 3 of 3 known IDs" in shop.stderr
    assert shop.files() == before
    shop.again(*strangers, options=("--source", "tills"))
    assert shop.spec.count("procedure:") == 6
    shop.again(*ALL, status=2)
    assert "--source NAME says which one" in shop.stderr
    before = shop.files()
    shop.again(*ALL, options=("--source", "c_Job"))
    shop.again(*strangers, options=("--source", "tills"))
    assert shop.files() == before


def test_a_rejected_row_is_said_by_the_exit_status_until_it_is_accepted(tmp_path):
    made = Shop(tmp_path)
    bad = cron_row(number=9, name="Bad", cron="0 5 * *")
    made.make(LOAD, MAIL, bad, status=1)
    assert "1 row was rejected" in made.stderr
    assert made.module("nightly_load")
    made.again(LOAD, MAIL, bad, status=1)
    made.again(LOAD, MAIL, bad, options=("--accept-rejected",))
    made.again(LOAD, MAIL, bad)
    worse = cron_row(number=9, name="Bad", cron="0 5")
    made.again(LOAD, MAIL, worse, status=1)
    good = cron_row(number=9, name="Bad", cron="0 5 * * *")
    assert lines_of(made.again(LOAD, MAIL, good), "added")


def test_a_job_whose_row_became_unreadable_stays_as_it_is(shop):
    before = shop.spec
    output = shop.again(
        cron_row(number=1, cron="0 2 * *", proc="dbo.usp_Load"), MAIL, TIDY, status=1
    )

    assert "what is here stays" in lines_of(output, "rejected")[0]
    assert shop.spec == before


def test_a_project_without_a_base_gets_one_where_both_say_the_same(shop):
    (shop.root / BASE).unlink()
    before = shop.spec
    shop.again(*ALL)

    assert shop.spec == before
    assert len((shop.root / BASE).read_text(encoding="utf-8").splitlines()) == 4


def _monday_or_first(count):
    starts = []
    day = datetime(2026, 11, 24, 3, 0, 9)  # noqa: DTZ001 - the old server's wall clock
    while len(starts) < count:
        if day.day == 1 or day.weekday() == 0:
            starts.append(day)
        day -= timedelta(days=1)
    return "".join(
        f"INSERT c_LoggedJob (ID, c_JobID, WhenStarted, enmRunStatus_JobStatus) VALUES ({n}, 1, '{start:%Y-%m-%dT%H:%M:%S}', 'Success')\n"
        for n, start in enumerate(starts)
    )


@pytest.mark.slow
def test_what_the_history_said_stays_when_a_later_export_has_none(tmp_path):
    made = Shop(tmp_path)
    row = cron_row(number=1, cron="0 3 1 * 1", proc="dbo.usp_Load")
    made.make(row, MAIL, TIDY, _monday_or_first(20))
    assert 'cron: "0 3 1 * *"' in made.spec
    assert "NightlyLoadOtherDays:" in made.spec
    before = made.files()
    made.again(row, MAIL, TIDY)
    assert made.files() == before
    made.again(row, MAIL, TIDY, _monday_or_first(20))
    assert made.files() == before
    output = made.again(cron_row(number=1, cron="0 4 1 * *", proc="dbo.usp_Load"), MAIL, TIDY)
    assert "cron 0 3 1 * * → cron 0 4 1 * *" in lines_of(output, "changed")[0]
    assert "NightlyLoadOtherDays" in lines_of(output, "removed")[0]


def test_a_dead_job_that_is_at_work_again_is_paused_no_more(tmp_path):
    def row(number, name, last):
        return (
            "INSERT c_Job (ID, JobName, CronExpression, StoredProcName, IsActive, LastRun) VALUES"
            f" ({number}, '{name}', '0 2 * * *', 'dbo.{name}', 1, '{last}T02:00:10')\n"
        )

    made = Shop(tmp_path)
    made.make(row(1, "Dead", "2019-03-04"), row(2, "Alive", "2026-11-20"))
    assert "paused=True" in made.module("dead")
    before = made.files()
    made.again(row(1, "Dead", "2019-03-04"), row(2, "Alive", "2026-11-21"))
    assert made.files() == before
    output = made.again(row(1, "Dead", "2026-11-22"), row(2, "Alive", "2026-11-22"))
    assert lines_of(output, "switched on")
    assert "paused" not in made.module("dead")


def test_an_interval_whose_last_run_moved_on_its_grid_is_unchanged(tmp_path):
    def row(last):
        return classic_row(
            "CyclicDay", "2026-01-01T05:10:00", count=3, LastRunTime=f"'{last}'", NextRunTime="NULL"
        )

    made = Shop(tmp_path)
    made.make(row("2026-10-02T05:10:20"))
    before = made.files()
    assert "anchor:" in made.spec
    made.again(row("2026-11-01T05:10:31"))
    assert made.files() == before
    output = made.again(row("2026-11-02T05:10:31"))
    assert lines_of(output, "changed")
    assert made.spec != before["targcc.yaml"].decode()


def test_json_has_every_change(shop):
    export = cron_row(number=1, cron="0 3 * * *", proc="dbo.usp_Load"), MAIL, TIDY
    data = json.loads(shop.again(*export, options=("--json", "--dry-run")))

    assert data["changes"][0] == {
        "kind": "changed", "row": "1", "key": "NightlyLoad", "name": "Nightly load",
        "fields": [{"field": "schedule", "base": {"cron": "0 2 * * *"}, "mine": {"cron": "0 2 * * *"}, "old": {"cron": "0 3 * * *"}}],
    }  # fmt: skip
    assert [change["kind"] for change in data["changes"]] == ["changed", "unchanged", "unchanged"]


def test_a_damaged_base_is_refused_with_its_line(shop):
    (shop.root / BASE).write_text('{"targcc_legacy": 1}\n<<<<<<< HEAD\n', encoding="utf-8")
    shop.again(*ALL, status=2)

    assert ".targcc/legacy.jsonl:2: it is damaged: git left conflict markers in it" in shop.stderr


def test_regenerate_leaves_the_base_alone(shop):
    before = (shop.root / BASE).read_bytes()
    shop.gen("regenerate")

    assert (shop.root / BASE).read_bytes() == before
