"""`targcc-gen new`: create a project."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from targcc_gen.assets import examples
from targcc_gen.cli import main
from targcc_gen.spec import load_spec


def new(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["new", *map(str, arguments)], prog_name="targcc-gen")


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_yes_makes_a_project_and_says_what_is_next(tmp_path):
    result = new(tmp_path / "acme-jobs", "--yes")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    count = len(files(tmp_path / "acme-jobs")) - 1  # the plan does not count the lock
    assert lines[0] == f"acme-jobs: {count} files to create"
    assert any(
        line.split() == ["src/acme_jobs/main.py", "yours", "the", "FastAPI", "app"]
        for line in lines
    )
    assert any(
        line.split() == ["src/acme_jobs/jobs/heartbeat.py", "yours", "every", "hour"]
        for line in lines
    )
    assert lines[-3].strip() == 'targcc-gen job DailyReport --cron "0 2 * * *"'
    assert lines[-1].endswith("targcc-gen scheduler vendored")


@pytest.mark.usefixtures("processes")
def test_everything_python_compiles(tmp_path):
    new(tmp_path / "acme-jobs", "--spec", examples() / "acme/targcc.yaml")
    command = [sys.executable, "-W", "error", "-m", "compileall", "-q", tmp_path / "acme-jobs"]
    subprocess.run(command, check=True)


def test_the_same_spec_gives_the_same_bytes_anywhere(tmp_path):
    spec = examples() / "acme/targcc.yaml"
    new(tmp_path / "one", "--spec", spec)
    new(tmp_path / "deep/in/another", "--spec", spec)
    assert files(tmp_path / "one") == files(tmp_path / "deep/in/another")
    assert not any(
        str(tmp_path).encode() in content for content in files(tmp_path / "one").values()
    )


def test_the_spec_becomes_the_projects_own_to_the_byte(tmp_path):
    text = b"# mine\r\ntargcc: 1\r\nproject: {name: jobs}\r\n"
    (tmp_path / "spec.yaml").write_bytes(text)
    new(tmp_path / "jobs", "--spec", tmp_path / "spec.yaml")
    assert (tmp_path / "jobs/targcc.yaml").read_bytes() == text
    result = CliRunner().invoke(
        main, ["regenerate", "--check", "--project", str(tmp_path / "jobs")]
    )
    assert result.exit_code == 0


def test_options_answer_the_questions(tmp_path):
    new(
        tmp_path / "x", "--name", "Shop-Jobs", "--package", "shop", "--timezone", "Asia/Jerusalem",
        "--database", "postgresql", "--description", "Sells things",
    )  # fmt: skip
    spec = load_spec(tmp_path / "x/targcc.yaml")
    assert (spec.project.name, spec.project.package, spec.project.timezone) == (
        "Shop-Jobs", "shop", "Asia/Jerusalem",
    )  # fmt: skip
    assert (spec.database, spec.project.description) == ("postgresql", "Sells things")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--timezone", "Asia/Jerusalm"], 'did you mean "Asia/Jerusalem"?'),
        (["--package", "json"], "would hide the module"),
        (["--name", "no name"], "is no name for a Python distribution"),
        (["--spec", "missing.yaml"], "no file missing.yaml"),
        (["--spec", "missing.yaml", "--timezone", "UTC"], "leave out --timezone"),
        ([], "give it a spec with --spec FILE"),
    ],
)
def test_a_wrong_answer_writes_nothing(tmp_path, arguments, problem):
    result = new(tmp_path / "jobs", *arguments)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert not (tmp_path / "jobs").exists()


def test_a_wrong_spec_is_shown_with_its_lines(tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        'targcc: 1\nproject: {name: jobs}\njobs:\n  A:\n    cron: "0 2 * * *"\n    retires: 5\n'
    )
    result = new(tmp_path / "jobs", "--spec", spec)
    assert result.exit_code == 2
    assert f"{spec}:6:5: error[TG102]: " in result.stderr
    assert 'did you mean "retries"?' in result.stderr
    assert not result.stderr.startswith("error")


def test_files_that_are_there_are_not_overwritten(tmp_path):
    (tmp_path / "README.md").write_text("mine\n")
    (tmp_path / "notes.txt").write_text("mine too\n")
    result = new(tmp_path, "--yes", "--name", "jobs")
    assert result.exit_code == 3
    assert "conflict  README.md" in result.stdout
    assert "1 conflict: nothing was written." in result.stderr
    actions = [line.split()[0] for line in result.stdout.splitlines() if line[:1].isalpha()]
    assert actions[-1] == "conflict"  # conflicts come last, after a hundred files to create
    assert files(tmp_path) == {"README.md": b"mine\n", "notes.txt": b"mine too\n"}


def test_a_choice_settles_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text("mine\n")
    assert new(".", "--yes", "--name", "jobs", "--mine", "README.md").exit_code == 0
    assert Path("README.md").read_text() == "mine\n"
    assert Path("targcc.yaml").exists()


def test_a_project_is_not_made_twice(tmp_path):
    new(tmp_path / "jobs", "--yes")
    result = new(tmp_path / "jobs", "--yes")
    assert result.exit_code == 2
    assert "is a project already" in result.stderr
    assert "targcc-gen regenerate --project" in result.stderr


@pytest.mark.parametrize("words", [["", "--yes"], ["jobs", "--spec", ""]])
def test_an_empty_name_is_not_the_present_folder(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    result = new(*words)
    assert (result.exit_code, "it is empty" in result.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "jobs").write_text("")
    assert new(tmp_path / "jobs", "--yes").exit_code == 2


def test_dry_run_diff_and_json_show_and_do_not_write(tmp_path):
    shown = new(tmp_path / "jobs", "--yes", "--dry-run", "--diff")
    assert "+++ b/src/jobs/main.py" in shown.stdout
    data = json.loads(new(tmp_path / "jobs", "--yes", "--dry-run", "--json").stdout)
    assert (data["written"], data["counts"]["create"]) == (False, len(data["changes"]))
    assert not (tmp_path / "jobs").exists()


@pytest.mark.usefixtures("processes")
def test_the_wizard_asks_and_asks_again(tmp_path):
    answers = "Shop\n\nMars/Olympus\nEurope/London\npostgresql\nvendored\n"
    runner = CliRunner()
    script = (
        "import sys\n"
        "for stream in (sys.stdin, sys.stdout): stream.isatty = lambda: True\n"
        "from targcc_gen.cli import main\n"
        f"main(['new', {str(tmp_path / 'x')!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=answers, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 'no time zone "Mars/Olympus"' in done.stderr
    spec = load_spec(tmp_path / "x/targcc.yaml")
    assert (spec.project.name, spec.project.package) == ("Shop", "shop")
    assert (spec.project.timezone, spec.database) == ("Europe/London", "postgresql")
    assert spec.scheduler == "vendored"
    assert runner


def test_nothing_depends_on_where_git_is(tmp_path, monkeypatch):
    new(tmp_path / "with", "--yes", "--name", "jobs")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("git") is None
    new(tmp_path / "without", "--yes", "--name", "jobs")
    assert files(tmp_path / "with") == files(tmp_path / "without")
