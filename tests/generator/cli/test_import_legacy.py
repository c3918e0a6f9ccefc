"""`targcc-gen import-legacy` on real files, giving a working project."""

import gzip
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from c_job_rows import classic_row
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.spec import parse_spec

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "legacy"
SCRIPTS = ROOT / "tests" / "data" / "legacy"
ZONE = ("--timezone", "Israel Standard Time", "--accept-rejected")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments, status=0):
        words = ["import-legacy", *map(str, arguments)]
        done = CliRunner().invoke(main, words, prog_name="targcc-gen")
        assert done.exit_code == status, done.output
        assert "Traceback" not in done.stderr
        return done

    return command


@pytest.fixture
def run_process(tmp_path):
    """Return a function that runs the command in a separate process."""

    def command(*arguments, status=0):
        line = [
            sys.executable,
            "-c",
            "from targcc_gen.cli import main; main()",
            "import-legacy",
            *map(str, arguments),
        ]
        done = subprocess.run(
            line,
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return command


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def example():
    return sorted(EXAMPLE.glob("*.sql"))


@pytest.mark.usefixtures("processes")
def test_the_listing_says_what_was_read_how_it_ended_and_what_differs(run_process):
    lines = run_process(*example(), *ZONE).stdout.splitlines()

    assert lines[0].split() == [
        "read",
        str(EXAMPLE / "c_Job.sql"),
        "(UTF-16,",
        "SSMS",
        "script)",
        "c_Job",
        "10",
        "rows",
    ]
    assert "result    8 jobs, 1 inactive (created paused), 1 rejected" in lines
    assert any(
        line.endswith('c_Job.sql:45  "Price list"  cron "0 5 * *": 4 fields instead of 5 or 6')
        for line in lines
    )
    assert lines[-3].startswith("parity    6 jobs fire exactly as before")
    assert lines[-2].strip() == "1 as its history shows, not as the row says"
    assert "(1 on the autumn clock change, 1 on the spring clock change)" in lines[-1]


def test_json_has_the_end_of_every_row_and_nothing_else(run):
    data = json.loads(run(*example(), *ZONE, "--json").stdout)

    assert list(data) == ["schema_version", "jobs", "inactive", "rejected", "warnings"]
    assert [len(data[key]) for key in ("jobs", "inactive", "rejected")] == [8, 1, 1]
    assert list(data["rejected"][0]) == ["file", "line", "reason"]
    sales = data["jobs"][0]
    assert (sales["key"], sales["name"], sales["line"]) == (
        "DailySalesReport",
        "Daily Sales Report",
        29 - 2,
    )
    assert sales["procedure"] == "dbo.SP_GenerateSalesReport"
    assert sales["alerts"]["email"] == ["sales@example.com", "dana@example.com"]


def test_a_new_project_has_the_jobs_and_its_history_and_a_second_import_changes_nothing(
    run, tmp_path
):
    run(*example(), *ZONE, "--new", "shop-jobs")
    project = tmp_path / "shop-jobs"
    module = (project / "src/shop_jobs/jobs/nightly_load.py").read_text()
    before = files(project)
    again = run(*example(), *ZONE, "--into", "shop-jobs")

    assert "timezone: Asia/Jerusalem" in (project / "targcc.yaml").read_text()
    assert '"[dbo].[usp_Nightly Load]"' in module
    assert "paused=True" in (project / "src/shop_jobs/jobs/old_exchange_rates.py").read_text()
    assert "unchanged 10 jobs that the project has already" in again.stdout
    assert files(project) == before
    with gzip.open(project / "data/legacy_history.jsonl.gz", "rt") as stream:
        first = json.loads(next(stream))
    assert (first["JobName"], first["StartedAt"][:16]) == ("Nightly load", "2026-11-10T23:30")


@pytest.mark.usefixtures("processes")
def test_the_history_lands_in_c_logged_job_once(run, tmp_path):
    run(*example(), *ZONE, "--new", "shop-jobs")
    project = tmp_path / "shop-jobs"
    environment = {**os.environ, "PYTHONPATH": "src", "PYTHONUTF8": "1"}

    def load():
        line = [
            sys.executable,
            "-m",
            "shop_jobs.scheduler",
            "import-history",
            "data/legacy_history.jsonl.gz",
        ]
        return subprocess.run(
            line, cwd=project, env=environment, capture_output=True, encoding="utf-8", check=True
        ).stdout

    assert load().startswith("52 runs added, 0 were there already")
    assert load().startswith("0 runs added, 52 were there already")
    with closing(sqlite3.connect(project / "shop_jobs.db")) as connection, connection:
        rows = connection.execute(
            "SELECT JobName, JobType, StartedAt, DurationMs > 0, Success, ErrorMessage, ServerName, TriggeredBy FROM c_LoggedJob"
            " WHERE Success = 0 ORDER BY StartedAt"
        ).fetchall()
    connection.close()
    assert [row[:2] for row in rows] == [("Nightly load", "Recurring")] * 2
    assert rows[0][2].startswith("2026-11-13 23:30")
    assert rows[0][3:] == (
        1,
        0,
        "Msg 208, Level 16, State 1\r\nInvalid object name 'stage.Orders'.",
        "SRV-TASKS",
        "Legacy",
    )


@pytest.mark.slow
def test_an_import_offers_sql_server_for_the_runs_and_sets_it_up(run, tmp_path):
    output = run(*example(), *ZONE, "--new", "shop-jobs").stdout
    assert "store     runs and history go to a file of SQLite; --database mssql keeps" in output
    text = (tmp_path / "shop-jobs/targcc.yaml").read_text(encoding="utf-8")
    assert "\ndatabase: sqlite\n" in text

    output = run(*example(), *ZONE, "--new", "till-jobs", "--database", "mssql").stdout
    assert "store     runs and history go to SQL Server" in output
    assert "TARGCC_DATABASE_URL" in output
    text = (tmp_path / "till-jobs/targcc.yaml").read_text(encoding="utf-8")
    assert "\ndatabase: mssql\n" in text


def test_the_database_of_an_import_is_that_of_a_new_project(run):
    done = run(*example(), *ZONE, "--into", "x", "--database", "mssql", status=2)
    assert "--database is of a new project: --new DEST" in done.stderr


@pytest.mark.usefixtures("processes")
def test_in_hybrid_mode_the_rows_stay_where_they_are_and_the_project_runs_them(run, tmp_path):
    output = run(*example(), *ZONE, "--mode", "hybrid", "--new", "shop-jobs").stdout
    project = tmp_path / "shop-jobs"
    spec = (project / "targcc.yaml").read_text(encoding="utf-8")
    env = (project / ".env.example").read_text(encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "legacy.db")) as connection, connection:
        connection.execute(
            "CREATE TABLE c_Job (ID INT, JobName, CronExpression, StoredProcName, IsActive BIT)"
        )
        connection.execute(
            "INSERT INTO c_Job VALUES (1, 'Nightly load', '0 2 * * *', 'SP_Load', 1)"
        )
        connection.execute("INSERT INTO c_Job VALUES (2, 'Bad one', '0 2 * *', 'SP_Load', 1)")
    connection.close()
    line = [sys.executable, "-m", "shop_jobs.scheduler", "job", "list"]
    legacy = {
        name: value for name, _, value in (text.partition("=") for text in env.splitlines())
        if name.startswith("TARGCC_LEGACY")
    }  # fmt: skip
    url = {"TARGCC_LEGACY_URL": f"sqlite:///{tmp_path / 'legacy.db'}"}
    environment = {**os.environ, "PYTHONPATH": "src", **legacy, **url}
    done = subprocess.run(
        line, cwd=project, env=environment, capture_output=True, encoding="utf-8", check=True
    )

    assert "hybrid    9 rows stay in c_Job and run from there" in output
    assert legacy["TARGCC_LEGACY_TIMEZONE"] == "Asia/Jerusalem"
    assert "jobs: {}" in spec
    assert "#   Nightly load: 30 1 * * * [dbo].[usp_Nightly Load]" in spec
    jobs = (project / "src/shop_jobs/jobs").glob("*.py")
    assert [path.name for path in jobs] == ["__init__.py"]
    assert "Nightly load" in done.stdout
    assert 'c_Job row 2 "Bad one" cannot be used: 4 fields' in done.stderr


def test_hybrid_mode_joins_a_project_once(run, tmp_path):
    run(*example(), *ZONE, "--mode", "hybrid", "--new", "shop-jobs", "--scheduler", "package")
    project = tmp_path / "shop-jobs"
    assert parse_spec((project / "targcc.yaml").read_text(encoding="utf-8")).scheduler == "package"
    before = files(project)
    run(*example(), *ZONE, "--mode", "hybrid", "--into", "shop-jobs")

    assert files(project) == before


def test_hybrid_mode_takes_the_rows_of_targcc_4_with_their_procedures(run, tmp_path):
    (tmp_path / "map.yaml").write_text("NightlyLoad: dbo.usp_Load\n", encoding="utf-8")
    classic = [EXAMPLE / "classic/jobs.sql", "--procedure-map", "map.yaml"]
    run(*classic, *ZONE, "--mode", "hybrid", "--new", "shop-jobs")
    env = (tmp_path / "shop-jobs" / ".env.example").read_text(encoding="utf-8")

    assert 'TARGCC_LEGACY_PROCEDURES={"nightlyload": "dbo.usp_Load"}' in env.splitlines()


def test_hybrid_mode_names_the_rows_that_are_due_now_and_the_column_that_rests_rows(run, tmp_path):
    past, future = "'2026-11-01T02:30:00'", "'2126-11-01T02:30:00'"
    rows = {
        "mnTM_Due": {"NextRunTime": past},
        "mnTM_Runs": {"NextRunTime": past, "enmJobStatus": "'InProcess'"},
        "mnTM_Later": {"NextRunTime": future},
        "mnTM_Off": {"NextRunTime": past, "Active": 0},
        "NotPorted": {"NextRunTime": past},
    }
    script = "".join(
        classic_row(ID=number, lkpJob=f"'{code}'", **{"enmJobStatus": "'Success'", **columns})
        for number, (code, columns) in enumerate(rows.items(), start=1)
    )
    (tmp_path / "c_Job.sql").write_text(script, encoding="utf-8")
    output = run("c_Job.sql", *ZONE, "--mode", "hybrid", "--new", "shop-jobs").stdout

    assert "1 row due now, to run once at the first start: mnTM_Due\n" in output
    assert "1 of them when Active becomes 1" in output


def test_what_hybrid_mode_cannot_run_is_refused(run, tmp_path):
    arguments = [*example(), "--cron-dialect", "vixie"]
    done = run(*arguments, *ZONE, "--mode", "hybrid", "--new", "shop-jobs", status=2)

    assert "not as vixie" in done.stderr
    assert not (tmp_path / "shop-jobs").exists()


def test_a_damaged_history_is_refused_and_nothing_is_loaded(run, tmp_path):
    run(*example(), *ZONE, "--new", "shop-jobs")
    project = tmp_path / "shop-jobs"
    history = project / "data/legacy_history.jsonl.gz"
    for damaged in (history.read_bytes()[:-40], gzip.compress(b'{"JobName": "A"}\n')):
        history.write_bytes(damaged)
        line = [sys.executable, "-m", "shop_jobs.scheduler", "import-history", str(history)]
        environment = {**os.environ, "PYTHONPATH": "src"}
        done = subprocess.run(
            line, cwd=project, env=environment, capture_output=True, encoding="utf-8", check=False
        )

        assert done.returncode == 2
        assert "Nothing was loaded" in done.stderr
    with closing(sqlite3.connect(project / "shop_jobs.db")) as connection, connection:
        assert connection.execute("SELECT COUNT(*) FROM c_LoggedJob").fetchone() == (0,)
    connection.close()


def test_classic_jobs_come_over_with_procedures_or_say_that_nobody_ported_them(run, tmp_path):
    run(
        EXAMPLE / "classic/jobs.sql", *ZONE, "--procedure-map", EXAMPLE / "classic/procedures.yaml",
        "--alert-email", "admin@example.com", "--new", "till-jobs",
    )  # fmt: skip
    jobs = tmp_path / "till-jobs/src/till_jobs/jobs"

    assert 'PROCEDURE = "dbo.usp_SendStatements"' in (jobs / "send_statements.py").read_text()
    assert "Ask Dana before running it by hand" in (jobs / "send_statements.py").read_text()
    orders = (jobs / "import_orders.py").read_text()
    assert 'every="5m", after="start"' in " ".join(orders.split()).replace("( ", "(")
    assert "not yet ported" in orders
    assert "admin@example.com" in orders
    spec = (tmp_path / "till-jobs/targcc.yaml").read_text()
    assert "srv-tasks: {workers: 1, concurrency: 1}" in spec


@pytest.mark.parametrize("script", sorted(EXAMPLE.rglob("*.sql")), ids=lambda path: path.stem)
def test_the_example_scripts_number_rows_only_where_the_server_lets_them(script):
    """SQL Server refuses an ID, unless IDENTITY_INSERT is on, which one table at a time may have."""
    text = script.read_text(encoding="utf-16")
    table = None
    for line in re.findall(r"^(?:SET IDENTITY_INSERT|INSERT) .*", text, re.MULTILINE):
        words = line.split()
        if words[0] == "INSERT":
            assert words[1] == table
        else:
            assert (table is None) == (words[3] == "ON")
            table = words[2] if words[3] == "ON" else None


def test_the_owner_decides_about_weekly_and_about_one_at_a_time(run, tmp_path):
    given = ("--weekly", "as-meant", "--runner-workers", "3")
    done = run(EXAMPLE / "classic/jobs.sql", *ZONE, *given, "--new", "till-jobs")
    spec = (tmp_path / "till-jobs/targcc.yaml").read_text()

    assert 'cron: "0 3 * * FRI"' in spec
    assert "srv-tasks: {workers: 3, concurrency: 3}" in spec
    assert "queues    srv-tasks: 5 jobs of runner SRV-TASKS, 3 at once" in done.stdout


@pytest.mark.slow
def test_the_queues_of_old_runners_join_a_project_once(run, tmp_path):
    run(EXAMPLE / "c_Job.csv", *ZONE, "--new", "shop-jobs")
    run(EXAMPLE / "classic/jobs.sql", *ZONE, "--into", "shop-jobs", "--source", "tills")
    spec = (tmp_path / "shop-jobs/targcc.yaml").read_text()
    done = run(EXAMPLE / "classic/jobs.sql", *ZONE, "--into", "shop-jobs", "--source", "tills")

    assert spec.count("srv-tasks: {workers: 1, concurrency: 1}") == 1
    assert "unchanged 6 jobs" in done.stdout
    assert (tmp_path / "shop-jobs/targcc.yaml").read_text() == spec


def test_the_tests_of_imported_jobs_pass(run, tmp_path):
    run(EXAMPLE / "classic/jobs.sql", EXAMPLE / "c_Job.csv", *ZONE, "--new", "all-jobs")
    project = tmp_path / "all-jobs"
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/jobs"]
    environment = {**os.environ, "PYTHONPATH": "src"}
    done = subprocess.run(
        line, cwd=project, env=environment, capture_output=True, encoding="utf-8", check=False
    )

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.slow
def test_jobs_of_another_zone_say_so_and_a_job_that_the_project_has_otherwise_is_left_alone(
    run, tmp_path
):
    run(EXAMPLE / "classic/jobs.sql", *ZONE, "--new", "shop-jobs", "--scheduler", "package")
    cron = (EXAMPLE / "c_Job.csv", "--into", "shop-jobs", "--accept-rejected", "--source", "tills")
    run(*cron, "--timezone", "GMT Standard Time")
    spec = (tmp_path / "shop-jobs/targcc.yaml").read_text()
    (tmp_path / "shop-jobs/.targcc/legacy.jsonl").unlink()
    done = run(*cron, *ZONE, status=3)

    assert "timezone: Europe/London" in spec
    assert "timezone: mine Europe/London, old none" in done.stdout
    assert "the project has this job already" in done.stdout
    assert (tmp_path / "shop-jobs/targcc.yaml").read_text() == spec


@pytest.mark.parametrize("suffix", [".md", ".html", ".json"])
def test_a_report_has_each_jobs_next_runs_in_local_time_and_utc(run, tmp_path, suffix):
    done = run(*example(), *ZONE, "--report", f"out/cutover{suffix}")
    text = (tmp_path / f"out/cutover{suffix}").read_text(encoding="utf-8")

    assert done.stdout.splitlines()[-1].split() == ["report", str(Path("out") / f"cutover{suffix}")]
    for words in (
        "DailySalesReport",
        "06:00 +0",
        "UTC",
        "O'Brien" if suffix != ".html" else "O&#39;Brien",
        "4 fields instead",
    ):
        assert words in text


def test_text_of_an_export_is_no_markup_in_a_report(run, tmp_path):
    (tmp_path / "x.sql").write_text(
        "INSERT c_Job (ID, JobName, CronExpression, StoredProcName, IsActive) VALUES (1, '<script>alert(1)</script>|x', '0 2 * * *', 'a', 1)"
    )
    run("x.sql", *ZONE, "--report", "r.html")
    run("x.sql", *ZONE, "--report", "r.md")

    assert "<script>alert" not in (tmp_path / "r.html").read_text()
    assert r"\<script\>alert(1)\</script\>\|x" in (tmp_path / "r.md").read_text()


@pytest.mark.usefixtures("processes")
def test_a_dry_run_shows_the_plan_and_writes_nothing(run_process, tmp_path):
    done = run_process(EXAMPLE / "c_Job.csv", *ZONE, "--new", "shop-jobs", "--dry-run", "--diff")

    assert "+class NightlyLoadJob:" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_a_zone_the_question_is_explained(run):
    done = run(EXAMPLE / "c_Job.csv", status=2)

    assert "--timezone is missing. The old server ran its jobs in its own local time" in done.stderr
    assert "tzutil /g" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.sql", b"", "the file is empty"),
        ("none.sql", b"SELECT 1", "no row of c_Job"),
        ("cut.sql", b"INSERT c_Job (ID, JobName) VALUES (1, 'A')\nINSERT c_Job (ID, JobName) VALUES (2, 'hal", "cut.sql:2: the script ends"),
        ("program.sql", bytes(range(256)) * 99, "a binary file"),
        ("bad.sql", b"INSERT c_Job (ID, JobName) VALUES (1, 'A')", "no row of c_Job can become a job"),
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused_and_nothing_is_written(run, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    done = run(name, *ZONE, "--new", "shop-jobs", status=2)

    assert words in done.stderr
    assert done.stderr.startswith("error[TG50")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_files_that_contradict_each_other_are_told_apart_from_the_rest(run, tmp_path):
    row = "INSERT c_Job (ID, JobName, CronExpression, StoredProcName, IsActive) VALUES ({}, '{}', '{}', 'usp_A', 1)\n"
    (tmp_path / "a.sql").write_text(
        row.format(1, "Nightly", "0 2 * * *") + row.format(2, "Other", "0 3 * * *")
    )
    (tmp_path / "b.sql").write_text(row.format(1, "Nightly", "0 4 * * *"))
    data = json.loads(run("a.sql", "b.sql", *ZONE, "--json").stdout)

    assert [job["key"] for job in data["jobs"]] == ["Other"]
    assert [(rejection["file"], rejection["line"]) for rejection in data["rejected"]] == [
        ("a.sql", 1),
        ("b.sql", 1),
    ]
    assert "contradicts b.sql:1" in data["rejected"][0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--new", "taken"), "is a project already"),
        (("--new", "full"), "is there already and not empty"),
        (("--into", "full"), "it has no targcc.yaml"),
        (("--new", "a", "--into", "b"), "exclude each other"),
        (("--into", "full", "--scheduler", "package"), "is of a new project"),
        (("--report", "r.pdf"), "it must end in .md, .html, .json"),
        (("--encoding", "klingon"), 'no encoding "klingon"'),
        (("--procedure-map", "none.yaml"), "none.yaml"),
    ],
)
def test_what_cannot_be_done_is_refused(run, tmp_path, arguments, words):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/targcc.yaml").write_text("targcc: 1\nproject: {name: taken}\n")
    done = run(EXAMPLE / "c_Job.csv", *ZONE, *arguments, status=2)

    assert words in done.stderr


def test_a_file_in_the_way_is_a_conflict_for_people(run, tmp_path):
    run(EXAMPLE / "classic/jobs.sql", *ZONE, "--new", "shop-jobs", "--scheduler", "package")
    (tmp_path / "shop-jobs/.targcc/legacy.jsonl").unlink()
    module = tmp_path / "shop-jobs/src/shop_jobs/jobs/nightly_load.py"
    module.write_text("mine = True\n")
    before = files(tmp_path / "shop-jobs")
    done = run(EXAMPLE / "c_Job.csv", *ZONE, "--into", "shop-jobs", status=3)

    assert "nothing was written" in done.stderr
    assert files(tmp_path / "shop-jobs") == before


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.sql")))
def test_every_sample_script_adds_up(run, script):
    if script in {"14_create_table.sql", "19_bracket_escape_reserved.sql"}:
        run(SCRIPTS / script, *ZONE, status=2)  # no row of c_Job
        return
    data = json.loads(run(SCRIPTS / script, *ZONE, "--json").stdout)
    rows = {"01_ssms_modern.sql": 2, "03_multirow_values.sql": 3, "09_convert_style.sql": 3}

    assert sum(len(data[key]) for key in ("jobs", "inactive", "rejected")) == rows.get(script, 1)


def test_paused_brings_everything_in_stopped_and_says_which_rows_they_are(run):
    done = run(*example(), *ZONE, "--new", "acme", "--paused")
    spec = parse_spec(Path("acme/targcc.yaml").read_text(encoding="utf-8"), "targcc.yaml")
    assert spec.jobs
    assert all(job.paused for job in spec.jobs.values())
    moving = json.loads(Path("acme/legacy/cutover.json").read_text(encoding="utf-8"))["jobs"]
    assert len(moving) == 8
    assert {"name": "Daily Sales Report", "id": "1", "runner": ""} in moving
    assert "targcc owner import" in done.stdout

    run(*example(), *ZONE, "--into", "acme", "--paused")
    assert json.loads(Path("acme/legacy/cutover.json").read_text())["jobs"] == moving


@pytest.mark.slow
def test_paused_is_refused_where_it_makes_no_sense_and_a_foreign_file_is_left(run):
    done = run(*example(), *ZONE, "--new", "acme", "--paused", "--mode", "hybrid", status=2)
    assert "exclude each other" in done.stderr
    run(*example(), *ZONE, "--new", "acme", "--paused", "--dry-run")
    assert not Path("acme").exists()
    run(*example(), *ZONE, "--new", "acme")
    Path("acme/legacy").mkdir()
    Path("acme/legacy/cutover.json").write_text("[]", encoding="utf-8")
    before = files(Path("acme"))
    done = run(*example(), *ZONE, "--into", "acme", "--paused", status=2)
    assert files(Path("acme")) == before
    assert "is not a list of jobs to cut over" in done.stderr


def test_dates_that_can_be_read_in_two_ways_are_rejected_until_a_person_says_how(run, tmp_path):
    header = "ID,lkpJob,lkpJobRunner,enmJobType,WhenToRun,Active,IsManaged\n"
    (tmp_path / "c_Job.csv").write_text(header + "1,Load,SRV,Annually,07/11/2016 13:37,1,1\n")

    done = run("c_Job.csv", "--timezone", "Asia/Jerusalem", "--json", status=1)
    assert "--dates says how" in json.loads(done.stdout)["rejected"][0]["reason"]

    run("c_Job.csv", "--timezone", "Asia/Jerusalem", "--dates", "dmy", "--new", "acme")
    spec = parse_spec(
        (tmp_path / "acme" / "targcc.yaml").read_text(encoding="utf-8"), "targcc.yaml"
    )
    assert spec.jobs["Load"].cron == "37 13 7 NOV *"


def test_dates_as_texts_of_a_database_are_read_as_a_person_says(run, tmp_path):
    database = sqlite3.connect(tmp_path / "old.db")
    database.execute(
        "CREATE TABLE c_Job (ID, lkpJob, lkpJobRunner, enmJobType, WhenToRun, Active, IsManaged)"
    )
    database.execute(
        "INSERT INTO c_Job VALUES (1, 'Load', 'SRV', 'Annually', '07/11/2016 13:37', 1, 1)"
    )
    database.commit()
    words = (f"sqlite:///{tmp_path}/old.db", "--timezone", "Asia/Jerusalem", "--json")

    assert "can be read in several ways" in run(*words, status=1).stdout
    assert len(json.loads(run(*words, "--dates", "mdy").stdout)["jobs"]) == 1
