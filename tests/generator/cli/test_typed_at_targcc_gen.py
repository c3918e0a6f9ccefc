"""Wrong inputs that people type at `targcc-gen`: each is answered with the way out. Expected words run the command they stand for."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from targcc_gen import __version__
from targcc_gen.cli import main

SPEC = """\
targcc: 1
project: {name: acme, package: acme_jobs}
jobs: {DailyReport: {cron: 0 2 * * *}}
"""
QUOTE = "quote the cron expression, because the shell splits it and replaces * by file names: "

TYPED = [
    # misspelt commands and options, the wrong program
    (["nwe", "acme"], "no command 'nwe': did you mean 'new'?"),
    (["regenrate"], "did you mean 'regenerate'?"),
    (["statu"], "did you mean 'status'?"),
    (["xyzzy"], "targcc-gen --help lists the commands"),
    (["serve"], "serve is a command of the project: uv run targcc serve"),
    (["runs"], "uv run targcc runs"),
    (["jobs"], "uv run targcc jobs"),
    (["job", "Report", "--cronn", "0 2 * * *"], "Did you mean '--cron'?"),
    (["regenerate", "--dryrun"], "Did you mean '--dry-run'?"),
    # several words without quotes
    (["job", "Report", "--cron", "0", "2", "*", "*", "*"], f'{QUOTE}--cron "0 2 * * *"'),
    (["job", "Report", "--cron", "*/5", "9-17", "*", "*", "MON-FRI"], '--cron "*/5 9-17 * * MON-FRI"'),
    (["job", "Report", "--cron", "0", "2", "a.txt", "src", "a.txt", "src"], '--cron "0 2 * * *"'),
    (["cron", "0", "2", "*", "*", "*"], f'{QUOTE}"0 2 * * *"'),
    (["job", "Report", "--every", "1h", "--timezone", "Israel", "Standard", "Time"], '--timezone "Israel Standard Time"'),
    (["job", "Report", "--at", "2026-12-31", "02:00"], "as one word, such as 2026-12-31T02:00"),
    # schedules, dates and zones in another form
    (["job", "Report", "--cron", "0 2 * *"], "Five fields are minute, hour, day of month"),
    (["job", "Report", "--cron", "0 25 * * *"], "hour 25 is not between 0 and 23"),
    (["job", "Report", "--every", "5"], "15m, 1h30m, 2d"),
    (["job", "Report", "--at", "31/12/2026"], 'write it like "2026-12-31T02:00"'),
    (["cron", "0 2 * * *", "--after", "31.12.2026"], "Write 2026-03-28, or 2026-03-28T12:00."),
    (["job", "Report", "--cron", "0 2 * * *", "--timezone", "Jerusalem"], 'did you mean "Asia/Jerusalem"?'),
    (["new", "other", "--yes", "--timezone", "Isreal Standard Time"], 'did you mean "Israel Standard Time"?'),
    (["job", "Report"], "when does it run? --cron, --every or --at"),
    (["job", "--cron", "0 2 * * *"], "Missing argument 'NAME'. Example: targcc-gen job DailyReport"),
    # names that exist, or do not
    (["job", "DailyReportJob", "--cron", "0 3 * * *"], "there is a job DailyReport already"),
    (["job", "daily_reprot", "--remove"], 'did you mean "DailyReport"?'),
    (["job", "Report", "--manual", "--blueprint", "reprot"], 'did you mean "report"?'),
    (["job", "Report", "--manual", "--blueprint", "xyzzy"], "use one of alert-check, backup"),
    (["explain", "jobs.DalyReport.cron"], 'did you mean "DailyReport"?'),
    (["explain", "TG2O1"], "did you mean TG201?"),
    (["restore", "nothing.py"], "targcc-gen status lists what changed"),
    # files and folders
    (["new", "a.txt", "--yes"], "Name a folder that does not exist yet."),
    (["new", "other", "--spec", "nope.yaml"], "no file nope.yaml"),
    (["new", "other", "--spec", "."], "Name the file: targcc.yaml"),
    (["new", ".", "--yes"], "targcc-gen regenerate"),
    (["import-legacy", "nope.csv", "--timezone", "UTC"], "nope.csv"),
    (["status", "--project", "a.txt"], "Name a folder."),
    (["new", "other", "--yes", "--database", "postgres"], "Did you mean 'postgresql'?"),
    (["completion", "bsh"], "Did you mean 'bash'?"),
]  # fmt: skip


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words, prog_name="targcc-gen")


@pytest.mark.parametrize(("typed", "way_out"), TYPED, ids=[" ".join(words) for words, _ in TYPED])
def test_a_wrong_input_is_answered_with_the_way_out(project: Path, typed: list[str], way_out: str):
    (project / "a.txt").touch()
    before = (project / "targcc.yaml").read_bytes()
    result = run(*typed)
    assert (result.exit_code, way_out in result.stderr) == (2, True), result.stderr
    assert "Traceback" not in result.stderr
    assert (project / "targcc.yaml").read_bytes() == before
    assert not (project / "other").exists()


def test_outside_a_project_the_error_says_how_to_get_one(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("job", "Report", "--cron", "0 2 * * *")
    assert result.exit_code == 2
    assert "name it with --project DIR, or make one: targcc-gen new NAME" in result.stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("ls", "status"), ("list", "status"), ("blueprint", "blueprints"), ("STATUS", "status"), ("help", "--help")],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_an_expected_word_runs_its_command_and_names_it(typed: str, meant: str):
    result, plain = run(typed), run(meant)
    assert (result.exit_code, result.stdout) == (0, plain.stdout), result.stderr
    assert result.stderr == f"targcc-gen {typed} is targcc-gen {meant}\n"


def test_a_windows_zone_is_written_as_its_iana_name(project: Path):
    result = run("job", "Report", "--cron", "0 2 * * *", "--timezone", "israel standard time")
    assert result.exit_code == 0, result.stderr
    assert "timezone: Asia/Jerusalem" in (project / "targcc.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed_and_installed(shell: str, tmp_path: Path, monkeypatch):
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    script = run("completion", shell)
    assert "_TARGCC_GEN_COMPLETE" in script.stdout
    installed = run("completion", shell, "--install")
    assert installed.exit_code == 0, installed.stderr
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.read_text(encoding="utf-8") == script.stdout.removesuffix("\n")
    assert str(file) in installed.stdout


def test_a_completion_script_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch):
    (tmp_path / "data").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    result = run("completion", "bash", "--install")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


@pytest.mark.usefixtures("processes")
def test_the_module_is_the_program():
    command = [sys.executable, "-m", "targcc_gen", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout) == (0, f"targcc-gen {__version__}\n"), done.stderr
