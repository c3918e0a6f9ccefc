"""`targcc-gen regenerate`, `status`, `restore` and `eject` on an existing project."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from targcc_gen.cli import main
from targcc_gen.sync import Lock

SOURCE = "vendor/targcc-scheduler/targcc_scheduler"
MANAGED = f"{SOURCE}/core/states.py"
EXECUTOR = f"{SOURCE}/kernel/worker/executor.py"


def targcc_gen(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="targcc-gen")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    root = tmp_path_factory.mktemp("fresh") / "acme-jobs"
    targcc_gen("new", str(root), "--yes", "--scheduler", "vendored")
    return root


@pytest.fixture(autouse=True)
def project(fresh, tmp_path, monkeypatch):
    root = tmp_path / "acme-jobs"
    shutil.copytree(fresh, root)
    monkeypatch.chdir(root)
    return root


def state(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def made_by_an_older_generator(project: Path, path: str, old: str, new: str) -> None:
    """Change the project as if the generator had written `old` where `new` is now."""
    from targcc_gen.sync import LockEntry

    lock = Lock.load(project)
    entry = lock.entries[path]
    base = entry.base.decode()
    assert new in base
    older = base.replace(new, old).encode()
    entries = {**lock.entries, path: LockEntry.of(path, entry.owner, older, keep_base=True)}
    (project / ".targcc/lock.jsonl").write_text(Lock(entries).dump())
    (project / path).write_bytes(older)


@pytest.mark.slow
def test_nothing_to_do():
    result = targcc_gen("regenerate")
    assert (result.exit_code, result.stdout) == (
        0,
        "Nothing to do: every file is what targcc.yaml asks for.\n",
    )
    assert targcc_gen("regenerate", "--check").exit_code == 0


@pytest.mark.slow
def test_a_newer_generator_updates_and_merges(project):
    made_by_an_older_generator(project, EXECUTOR, "class OldName", "class Executor")
    made_by_an_older_generator(project, MANAGED, "class OldState", "class RunState")
    edited_file = project / MANAGED
    edited_file.write_text(edited_file.read_text() + "\nMINE = True\n")
    check = targcc_gen("regenerate", "--check")
    assert check.exit_code == 1
    assert "+class RunState" in check.stdout
    assert check.stderr == "2 files differ. Run: targcc-gen regenerate\n"
    result = targcc_gen("regenerate")
    assert result.exit_code == 0
    assert f"update    {EXECUTOR}" in result.stdout
    assert f"merge     {MANAGED}" in result.stdout
    assert "your 2 lines kept" in result.stdout
    assert edited_file.read_text().endswith("\nMINE = True\n")
    assert "class RunState" in edited_file.read_text()
    assert targcc_gen("regenerate", "--check").exit_code == 0


class TestConflict:
    @pytest.fixture(autouse=True)
    def both_changed_it(self, project):
        made_by_an_older_generator(project, MANAGED, "class OldState(", "class RunState(")
        path = project / MANAGED
        path.write_text(path.read_text().replace("class OldState(", "class MyState("))
        return path

    @pytest.mark.slow
    def test_nothing_is_written_and_both_sides_are_shown(self, project):
        before = state(project)
        result = targcc_gen("regenerate")
        assert result.exit_code == 3
        assert f"conflict  {MANAGED}  line " in result.stdout
        assert "            mine       class MyState(" in result.stdout
        assert "            generated  class RunState(" in result.stdout
        assert result.stderr.startswith("1 conflict: nothing was written. Choose with --mine PATH")
        assert state(project) == before

    @pytest.mark.slow
    def test_check_fails_too(self):
        assert targcc_gen("regenerate", "--check").exit_code == 1

    @pytest.mark.slow
    def test_generated(self, both_changed_it):
        assert targcc_gen("regenerate", "--generated", MANAGED).exit_code == 0
        assert "class RunState(" in both_changed_it.read_text()

    @pytest.mark.slow
    def test_mine_by_folder(self, both_changed_it, monkeypatch):
        monkeypatch.chdir("vendor")
        assert targcc_gen("regenerate", "--mine", "targcc-scheduler").exit_code == 0
        assert "class MyState(" in both_changed_it.read_text()
        assert targcc_gen("regenerate", "--check").exit_code == 0

    @pytest.mark.slow
    def test_markers_are_never_a_success(self, both_changed_it):
        result = targcc_gen("regenerate", "--markers")
        assert result.exit_code == 3
        assert "between markers" in result.stderr
        assert "<<<<<<< mine\nclass MyState(" in both_changed_it.read_text()
        again = targcc_gen("regenerate")
        assert again.exit_code == 3
        assert "conflict markers" in again.stdout

    @pytest.mark.slow
    def test_json(self):
        result = targcc_gen("regenerate", "--json")
        assert result.exit_code == 3
        data = json.loads(result.stdout)
        (conflict,) = (change for change in data["changes"] if change["action"] == "conflict")
        assert conflict["collisions"][0]["mine"].startswith("class MyState(")

    @pytest.mark.slow
    def test_markers_of_an_older_release_still_count(self, both_changed_it):
        targcc_gen("regenerate", "--markers")
        older = both_changed_it.read_text().replace("<<<<<<< mine", "<<<<<<< yours")
        both_changed_it.write_text(older.replace(">>>>>>> generated", ">>>>>>> ours (targcc-gen)"))
        again = targcc_gen("regenerate")
        assert again.exit_code == 3
        assert "conflict markers" in again.stdout

    @pytest.mark.parametrize(("old", "new"), [("--ours", "--generated"), ("--theirs", "--mine")])
    def test_the_older_options_name_the_new_ones(self, project, old, new):
        before = state(project)
        result = targcc_gen("regenerate", old, MANAGED)
        assert result.exit_code == 2
        assert f"{old} has another name now: {new} PATH" in result.stderr
        assert old not in targcc_gen("regenerate", "--help").stdout
        assert state(project) == before

    def test_a_path_outside_of_the_project(self):
        result = targcc_gen("regenerate", "--generated", "/etc/passwd")
        assert result.exit_code == 2
        assert "is not in the project" in result.stderr


class TestMoved:
    OLD = f"{SOURCE}/run_states.py"

    @pytest.fixture(autouse=True)
    def it_was_elsewhere(self, project, tmp_path, monkeypatch):
        """Move the file to an old place, as an older generator placed it, with a person's edit."""
        from targcc_gen.sync.renames import table

        lock = Lock.load(project)
        entries = dict(lock.entries)
        entries[self.OLD] = replace(entries.pop(MANAGED), path=self.OLD)
        (project / ".targcc/lock.jsonl").write_text(Lock(entries).dump())
        (project / MANAGED).rename(project / self.OLD)
        edited_file = project / self.OLD
        edited_file.write_text(edited_file.read_text() + "\nMINE = True\n")
        self.table = tmp_path / "renames.toml"
        monkeypatch.setattr(table, "TABLE", self.table)

    def goes_to(self, *places: str) -> None:
        code = "src/{package}/scheduler"
        self.table.write_text(f'[moved]\n"{code}/run_states.py" = {list(places)}\n')

    def test_an_edit_goes_along(self, project):
        self.goes_to(MANAGED.replace(SOURCE, "src/{package}/scheduler"))
        result = targcc_gen("regenerate")
        assert result.exit_code == 0
        assert "moved from targcc_scheduler/run_states.py, your 2 lines kept" in result.stdout
        assert (project / MANAGED).read_text().endswith("\nMINE = True\n")
        assert not (project / self.OLD).exists()
        assert targcc_gen("regenerate", "--check").exit_code == 0

    @pytest.mark.slow
    def test_what_cannot_follow_is_shown_and_listed_until_it_is_deleted(self, project):
        self.goes_to()
        data = json.loads(targcc_gen("regenerate", "--dry-run", "--json").stdout)
        (change,) = (item for item in data["changes"] if item["path"] == self.OLD)
        assert [item["mine"] for item in change["left_behind"]] == ["\nMINE = True\n"]
        result = targcc_gen("regenerate")
        assert result.exit_code == 0
        kept = f".targcc/kept/{self.OLD}.diff"
        assert (
            f"it has no successor; 2 lines of yours could not follow: see {kept}" in result.stdout
        )
        assert "MINE = True" in result.stdout
        assert "+MINE = True" in (project / kept).read_text()
        assert f"kept      {kept}" in targcc_gen("status").stdout
        assert targcc_gen("regenerate", "--check").exit_code == 0
        shutil.rmtree(project / ".targcc/kept")
        assert "kept" not in targcc_gen("status").stdout

    def test_files_that_only_moved_are_one_line(self, project):
        self.goes_to(MANAGED.replace(SOURCE, "src/{package}/scheduler"))
        edited_file = project / self.OLD
        edited_file.write_text(edited_file.read_text().removesuffix("\nMINE = True\n"))
        result = targcc_gen("regenerate")
        assert result.stdout == "move      1 file of targcc-gen's has another place now\n"


@pytest.mark.slow
def test_a_jobs_decorator_follows_the_spec(project):
    module = project / "src/acme_jobs/jobs/heartbeat.py"
    module.write_text(
        module.read_text().replace("return JobResult", "x = 1\n        return JobResult")
    )
    spec = project / "targcc.yaml"
    spec.write_text(spec.read_text().replace('"0 * * * *"', '"*/5 * * * *"'))
    result = targcc_gen("regenerate")
    assert "@job follows the spec: schedule" in result.stdout
    assert '@job("*/5 * * * *", retries=0, timeout="30s")' in module.read_text()
    assert "x = 1\n" in module.read_text()
    assert targcc_gen("regenerate", "--check").exit_code == 0


@pytest.mark.slow
def test_a_job_that_left_the_spec_goes_with_its_files(project):
    spec = project / "targcc.yaml"
    spec.write_text(spec.read_text().split("jobs:")[0] + "jobs: {}\n")
    result = targcc_gen("regenerate")
    assert result.exit_code == 0
    assert "delete    src/acme_jobs/jobs/heartbeat.py" in result.stdout
    assert not (project / "tests/jobs/test_heartbeat.py").exists()


def test_a_wrong_spec_writes_nothing(project):
    spec = project / "targcc.yaml"
    spec.write_text(spec.read_text() + "colour: red\n")
    before = state(project)
    result = targcc_gen("regenerate")
    assert result.exit_code == 2
    assert "targcc.yaml:" in result.stderr
    assert "nothing was written" in result.stderr
    assert state(project) == before


@pytest.mark.slow
def test_status_tells_what_people_did(project):
    (project / MANAGED).write_text((project / MANAGED).read_text() + "\nMINE = True\n")
    targcc_gen("eject", EXECUTOR)
    result = targcc_gen("status")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0][:3] == ["acme-jobs:", "1", "job,"]
    assert ["edited", MANAGED, "2", "lines", "of", "yours"] in lines
    assert ["ejected", EXECUTOR, "yours", "alone"] in lines
    assert result.stdout.endswith("Up to date: regenerate has nothing to do.\n")
    data = json.loads(targcc_gen("status", "--json").stdout)
    assert {file["state"] for file in data["files"]} >= {"edited", "ejected"}


@pytest.mark.slow
def test_a_deleted_file_stays_deleted_until_restore(project):
    (project / MANAGED).unlink()
    assert "you deleted it" in targcc_gen("regenerate").stdout
    assert not (project / MANAGED).exists()
    assert targcc_gen("regenerate", "--check").exit_code == 0
    assert targcc_gen("restore", MANAGED).exit_code == 0
    assert (project / MANAGED).exists()


def test_restore_drops_edits_only_when_told_to(project):
    path = project / MANAGED
    pristine = path.read_text()
    path.write_text(pristine + "MINE = True\n")
    result = targcc_gen("restore", MANAGED)
    assert result.exit_code == 3
    assert "--discard-edits" in result.stderr
    assert path.read_text().endswith("MINE = True\n")
    assert targcc_gen("restore", MANAGED, "--discard-edits").exit_code == 0
    assert path.read_text() == pristine


@pytest.mark.parametrize(
    "words", [["restore", "--discard-edits", ""], ["regenerate", "--generated", ""]]
)
def test_an_empty_path_is_not_the_whole_project(project, words):
    path = project / MANAGED
    path.write_text(path.read_text() + "MINE = True\n")
    result = targcc_gen(*words)
    assert (result.exit_code, "a path is empty" in result.stderr) == (2, True)
    assert path.read_text().endswith("MINE = True\n")


def test_restore_of_a_folder(project):
    shutil.rmtree(project / "migrations")
    migrations = f"{SOURCE}/db/migrations"
    shutil.rmtree(project / migrations)
    assert targcc_gen("restore", migrations).exit_code == 0
    assert (project / migrations / "env.py").exists()
    assert not (project / "migrations").exists()


def test_restore_of_what_is_not_ours():
    result = targcc_gen("restore", "nothing.py")
    assert result.exit_code == 2
    assert "nothing.py is no file that targcc-gen makes" in result.stderr


@pytest.mark.slow
def test_eject_and_back(project):
    path = project / EXECUTOR
    pristine = path.read_text()
    assert targcc_gen("eject", EXECUTOR).exit_code == 0
    assert "Managed by targcc-gen" not in path.read_text()
    made_up = path.read_text() + "MINE = True\n"
    path.write_text(made_up)
    assert f"keep      {EXECUTOR}  ejected" in targcc_gen("regenerate").stdout
    assert path.read_text() == made_up
    targcc_gen("restore", EXECUTOR, "--discard-edits")
    assert path.read_text() == pristine
    assert "ejected" not in targcc_gen("regenerate").stdout


def test_eject_of_what_is_yours():
    result = targcc_gen("eject", "README.md")
    assert result.exit_code == 2
    assert "README.md is yours already" in result.stderr


@pytest.mark.slow
def test_a_lost_lock_costs_nothing_that_people_wrote(project):
    (project / "README.md").write_text("mine\n")
    shutil.rmtree(project / ".targcc")
    result = targcc_gen("regenerate")
    assert result.exit_code == 3
    assert "conflict  README.md" in result.stdout
    assert (project / "README.md").read_text() == "mine\n"
    assert targcc_gen("regenerate", "--mine", "README.md").exit_code == 0
    assert targcc_gen("regenerate", "--check").exit_code == 0
