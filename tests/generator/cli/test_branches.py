"""Merge two branches of a project with a real git: at most one command makes the tree right."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.spec import load_spec
from targcc_gen.sync import Lock

SPEC = """\
targcc: 1
project: {name: acme-jobs}
scheduler: package

jobs:
  Alpha:
    cron: "0 2 * * *"
    retries: 2

  Middle: {cron: "0 3 * * *", description: Stands between}

  Omega:
    every: 15m
    description: Comes last
"""
ALPHA = "src/acme_jobs/jobs/alpha.py"


def targcc_gen(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="targcc-gen", catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


def git(*arguments: str, status: int = 0) -> str:
    return _git(*arguments, status=status).stdout


def git_said(*arguments: str, status: int = 0) -> str:
    """Return the messages of git and its merge driver."""
    return _git(*arguments, status=status).stderr


def _git(*arguments: str, status: int) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_EDITOR": "true"}
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *who, *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, f"{arguments}\n{done.stdout}{done.stderr}"
    return done


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text(encoding="utf-8")
    assert old in text, text
    Path(path).write_text(text.replace(old, new), encoding="utf-8")


def change(old: str, new: str) -> None:
    edit("targcc.yaml", old, new)
    targcc_gen("regenerate")


def add(name: str) -> None:
    targcc_gen("job", name, "--cron", "0 4 * * *", "--retries", "1")


def remove(name: str) -> None:
    targcc_gen("job", "--remove", name)


@pytest.fixture(scope="module")
def born(tmp_path_factory):
    root = tmp_path_factory.mktemp("born") / "acme-jobs"
    spec = root.parent / "targcc.yaml"
    spec.write_text(SPEC, encoding="utf-8")
    targcc_gen("new", str(root), "--spec", str(spec))
    return root


def drivers(*quick: str):
    """Parametrise whether git knows the driver; the slow variants run with the long tests."""
    ways = [
        pytest.param(name == DRIVER, marks=() if name in quick else pytest.mark.soak, id=name)
        for name in (DRIVER, PLAIN)
    ]
    return pytest.mark.parametrize("driver", ways, indirect=True)


DRIVER, PLAIN = "driver", "plain git"
WITHOUT = pytest.mark.parametrize("driver", [False], ids=[PLAIN], indirect=True)


@pytest.fixture
def driver(request):
    return request.param


@pytest.fixture(autouse=True)
def project(born, driver, tmp_path, monkeypatch):
    root = tmp_path / "acme-jobs"
    shutil.copytree(born, root)
    monkeypatch.chdir(root)
    # git calls the driver by its name
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    monkeypatch.setenv("PATH", path)
    git("init", "-q")
    commit()
    if driver:
        targcc_gen("merge-driver", "--install")
    return root


def commit() -> None:
    git("add", "-A")
    git("commit", "-q", "--allow-empty", "-m", "work")


def branches(ours, theirs) -> None:
    """Commit one change on `main` and the other on `topic`; leave `main` checked out."""
    git("checkout", "-q", "-b", "topic")
    theirs()
    commit()
    git("checkout", "-q", "main")
    ours()
    commit()


def merged(how: tuple[str, ...], *, is_clean: bool) -> None:
    """Merge or rebase, run one command, and check that every file matches the spec."""
    git(*how, status=0 if is_clean else 1)
    targcc_gen("regenerate")
    targcc_gen("regenerate", "--check")
    assert "<<<<<<<" not in Path("targcc.yaml").read_text(encoding="utf-8")
    for path in Path("src/acme_jobs/jobs").glob("*.py"):
        compile(path.read_text(encoding="utf-8"), path, "exec")
    lock = Lock.load(Path())
    assert all(not entry.others for entry in lock.entries.values())
    assert {path for path in lock.entries if path.startswith("src/acme_jobs/jobs/")} == {
        path.as_posix() for path in Path("src/acme_jobs/jobs").glob("*.py")
    }
    commit()


def jobs() -> dict:
    return load_spec(Path("targcc.yaml")).jobs


MERGE = ("merge", "-q", "--no-edit", "topic")


@pytest.mark.usefixtures("processes")
@drivers(DRIVER)
def test_both_add_a_job(driver):
    branches(lambda: add("OurReport"), lambda: add("TheirReport"))

    merged(MERGE, is_clean=driver)

    assert list(jobs()) == ["Alpha", "Middle", "Omega", "OurReport", "TheirReport"]


@drivers()
def test_one_adds_a_job_and_one_changes_a_key_beside_it(driver):
    branches(
        lambda: add("OurReport"), lambda: change("description: Comes last", "description: Ends")
    )

    merged(MERGE, is_clean=driver)

    assert jobs()["Omega"].description == "Ends"
    assert "OurReport" in jobs()


@drivers()
def test_one_adds_a_job_and_one_removes_its_neighbour(driver):
    branches(lambda: add("OurReport"), lambda: remove("Omega"))

    merged(MERGE, is_clean=driver)

    assert list(jobs()) == ["Alpha", "Middle", "OurReport"]


@pytest.mark.usefixtures("processes")
@drivers(PLAIN)
def test_both_change_other_keys_of_one_job(driver):
    branches(
        lambda: change("retries: 2", "retries: 7"),
        lambda: change("retries: 2", "retries: 2\n    timeout: 10m"),
    )

    merged(MERGE, is_clean=driver)

    source = Path(ALPHA).read_text(encoding="utf-8")
    assert jobs()["Alpha"].retries == 7
    assert '@job("0 2 * * *", retries=7, timeout="10m")' in source


@drivers()
def test_both_change_other_keys_of_a_job_in_braces(driver):
    branches(
        lambda: change('"0 3 * * *"', '"30 3 * * *"'),
        lambda: change("Stands between}", "Stands between, retries: 9}"),
    )

    merged(MERGE, is_clean=driver)

    assert (jobs()["Middle"].cron, jobs()["Middle"].retries) == ("30 3 * * *", 9)


@pytest.mark.usefixtures("processes")
@drivers(PLAIN)
def test_what_both_changed_differently_is_for_a_person():
    branches(
        lambda: (change("retries: 2", "retries: 5"), add("OurReport")),
        lambda: (change("retries: 2", "retries: 8"), add("TheirReport")),
    )
    git(*MERGE, status=1)

    before = Path("targcc.yaml").read_bytes()
    output = targcc_gen("regenerate", "--check", status=3)

    assert "jobs.Alpha.retries: 5 (" in output
    assert "Report" not in output
    assert Path("targcc.yaml").read_bytes() == before
    targcc_gen("regenerate", "--markers", status=3)
    text = Path("targcc.yaml").read_text(encoding="utf-8")
    start, _, rest = text.partition("<<<<<<< ")
    middle, _, end = rest.partition(">>>>>>> ")
    assert middle.splitlines()[1:] == ["    retries: 5", "=======", "    retries: 8"]
    Path("targcc.yaml").write_text(
        start + "    retries: 8\n" + end.partition("\n")[2], encoding="utf-8"
    )
    # The job's file has the same conflict.
    source = Path(ALPHA).read_text(encoding="utf-8")
    assert "<<<<<<< " in source
    targcc_gen("regenerate")
    targcc_gen("regenerate", "--check")
    assert jobs()["Alpha"].retries == 8
    assert "retries=8" in Path(ALPHA).read_text(encoding="utf-8")
    assert {"OurReport", "TheirReport"} <= set(jobs())


@drivers()
def test_bodies_that_both_wrote_stay_and_collide_only_where_they_do(driver):
    def ours():
        edit(ALPHA, "import json", "# ours\nimport json")
        change("retries: 2", "retries: 7")

    def theirs():
        Path(ALPHA).write_text(Path(ALPHA).read_text(encoding="utf-8") + "\n\nTHEIRS = 1\n")
        change("retries: 2", "retries: 2\n    timeout: 10m")

    Path(ALPHA).write_text("import json\n" + Path(ALPHA).read_text(encoding="utf-8"))
    commit()
    branches(ours, theirs)

    merged(MERGE, is_clean=driver)

    source = Path(ALPHA).read_text(encoding="utf-8")
    assert "# ours" in source
    assert "THEIRS = 1" in source
    assert 'retries=7, timeout="10m"' in source


@drivers()
def test_the_order_of_one_side_and_the_job_of_the_other(driver):
    text = Path("targcc.yaml").read_text(encoding="utf-8")
    head, _, rest = text.partition("  Alpha:")
    first, _, last = rest.partition("  Omega:")
    reordered = f"{head}  Omega:{last.rstrip()}\n\n  Alpha:{first.rstrip()}\n"
    branches(
        lambda: (Path("targcc.yaml").write_text(reordered), targcc_gen("regenerate")),
        lambda: add("TheirReport"),
    )

    merged(MERGE, is_clean=driver)

    assert next(iter(jobs())) == "Omega"
    assert "TheirReport" in jobs()


def older_generator() -> None:
    """Change the workflow and every lock line to look like an older generator's."""
    from targcc_gen.sync import LockEntry

    lock, path = Lock.load(Path()), ".github/workflows/ci.yml"
    older = lock.entries[path].base.replace(b"name: ci", b"name: continuous-integration")
    Path(path).write_bytes(older)
    entries = {
        name: (
            LockEntry.of(
                name, current.owner, older if name == path else current.base + b"\n", keep_base=True
            )
            if current.base and (name == path or current.owner == "managed")
            else current
        )
        for name, current in lock.entries.items()
    }
    for name, entry in entries.items():
        if entry.owner == "managed" and entry.base:
            Path(name).write_bytes(entry.base)
    Path(".targcc/lock.jsonl").write_text(Lock(entries, "0.0.1").dump())


@pytest.mark.usefixtures("processes")
@drivers(PLAIN)
@pytest.mark.parametrize("upgrades", ["theirs", pytest.param("ours", marks=pytest.mark.soak)])
def test_an_upgrade_on_one_side(upgrades):
    older_generator()
    commit()
    sides = [lambda: targcc_gen("regenerate"), lambda: add("NewReport")]
    branches(*(sides if upgrades == "ours" else reversed(sides)))

    merged(MERGE, is_clean=True)

    assert "name: ci\n" in Path(".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert "NewReport" in jobs()


@pytest.mark.usefixtures("processes")
@WITHOUT
def test_a_conflict_in_the_lock_itself():
    Path(".targcc/.gitattributes").unlink()
    targcc_gen("regenerate")
    commit()
    branches(lambda: add("OurReport"), lambda: add("TheirReport"))
    git("-c", "merge.conflictStyle=diff3", *MERGE, status=1)
    assert "<<<<<<< " in Path(".targcc/lock.jsonl").read_text(encoding="utf-8")

    targcc_gen("regenerate")

    targcc_gen("regenerate", "--check")
    assert {"OurReport", "TheirReport"} <= set(jobs())


@pytest.mark.usefixtures("processes")
@drivers(PLAIN)
def test_a_rebase(driver):
    branches(
        lambda: (add("OurReport"), change("retries: 2", "retries: 7")),
        lambda: (add("TheirReport"), change("retries: 2", "retries: 2\n    timeout: 10m")),
    )
    git("checkout", "-q", "topic")
    git("rebase", "-q", "main", status=0 if driver else 1)
    targcc_gen("regenerate")
    targcc_gen("regenerate", "--check")
    git("add", "-A")
    if not driver:
        git("rebase", "--continue")

    assert (jobs()["Alpha"].retries, len(jobs())) == (7, 5)
    targcc_gen("regenerate", "--check")


@pytest.mark.usefixtures("processes")
@WITHOUT
def test_other_commands_say_what_to_do():
    branches(lambda: add("OurReport"), lambda: add("TheirReport"))
    git(*MERGE, status=1)

    output = targcc_gen("job", "Third", "--manual", status=2)

    assert "git could not merge these lines" in output
    assert "targcc-gen regenerate merges both sides" in output
    assert "update    targcc.yaml" in targcc_gen("status")


@pytest.mark.usefixtures("processes")
@WITHOUT
def test_a_page_about_conflicts_is_none():
    readme = Path("README.md")
    text = f"{readme.read_text(encoding='utf-8')}\n<<<<<<< HEAD\na\n=======\nb\n>>>>>>> topic\n"
    readme.write_text(text, encoding="utf-8")

    targcc_gen("regenerate", "--check")

    assert readme.read_text(encoding="utf-8") == text
    module = Path(ALPHA)
    module.write_text(f"<<<<<<< HEAD\n=======\nx = 1\n>>>>>>> topic\n{module.read_text()}")
    output = targcc_gen("regenerate", status=3)
    assert "git could not merge a place: edit what is between its markers" in output


@pytest.mark.usefixtures("processes")
@drivers(PLAIN)
def test_both_add_a_queue_which_a_managed_file_has_on_one_line(driver):
    branches(
        lambda: change("\njobs:\n", "\nqueues:\n  slow: {workers: 1}\n\njobs:\n"),
        lambda: change("\njobs:\n", "\nqueues:\n  fast: {workers: 9}\n\njobs:\n"),
    )
    init = Path("src/acme_jobs/scheduler.py")
    git(*MERGE, status=1)
    assert ("<<<<<<< " in Path("targcc.yaml").read_text(encoding="utf-8")) is not driver

    targcc_gen("regenerate")

    targcc_gen("regenerate", "--check")
    assert '"slow": 1, "fast": 9' in init.read_text(encoding="utf-8")


# A job that one branch removes and another branch edits


def edit_alpha() -> None:
    edit(ALPHA, "return JobResult", "print('theirs')\n        return JobResult")


def remove_in_spec() -> None:
    text = Path("targcc.yaml").read_text(encoding="utf-8")
    start, end = text.index("  Alpha:"), text.index("  Middle:")
    Path("targcc.yaml").write_text(text[:start] + text[end:], encoding="utf-8")
    targcc_gen("regenerate")


REMOVALS = {
    "by a command": lambda: remove("Alpha"),
    "in the spec": remove_in_spec,
    "by another name": lambda: targcc_gen("job", "Alpha", "--rename", "Other"),
}


def brought_back(removal: str) -> None:
    """One branch removes the job, the other edits its file, and the person who merges keeps the edited file."""
    branches(REMOVALS[removal], edit_alpha)
    renamed = removal == "by another name"  # git follows a rename; a cherry-pick may not
    git(*MERGE, status=0 if renamed else 1)
    git("checkout", "-q", "topic", "--", ALPHA)
    commit()
    assert Path(ALPHA).exists()


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("removal", REMOVALS)
@drivers(DRIVER, PLAIN)
def test_a_job_that_comes_back_by_a_merge_is_named_until_somebody_decides(removal):
    brought_back(removal)

    for _ in range(2):  # regenerate does not decide for the person
        assert "Alpha is in code, not in the spec, and runs" in targcc_gen("status")
        assert "Alpha" in targcc_gen("regenerate", "--check", status=1)
        targcc_gen("regenerate")
    commit()


@pytest.mark.usefixtures("processes")
@WITHOUT
def test_a_job_that_came_back_is_removed_again():
    brought_back("by a command")
    targcc_gen("job", "--remove", "Alpha")
    assert not Path(ALPHA).exists()
    assert targcc_gen("regenerate", "--check") == ""
    assert "print('theirs')" in Path(f".targcc/removed/{ALPHA}.txt").read_text(encoding="utf-8")


@pytest.mark.usefixtures("processes")
@WITHOUT
def test_a_job_that_came_back_is_adopted():
    brought_back("by a command")
    targcc_gen("pull", "Alpha")
    assert "Alpha" in jobs()
    targcc_gen("regenerate")
    targcc_gen("regenerate", "--check")
    assert "print('theirs')" in Path(ALPHA).read_text(encoding="utf-8")


@pytest.mark.usefixtures("processes")
@WITHOUT
def test_a_job_that_came_back_is_made_somebodys_own():
    brought_back("by a command")
    targcc_gen("eject", ALPHA)
    targcc_gen("regenerate", "--check")
    assert "Alpha" not in targcc_gen("status")


@pytest.mark.usefixtures("processes")
@WITHOUT
def test_a_removed_job_that_is_added_again_is_a_job_as_any_other():
    remove("Alpha")
    add("Alpha")
    targcc_gen("regenerate", "--check")
    assert not Lock.load(Path()).removed
    assert "not in the spec" not in targcc_gen("status")


@pytest.mark.usefixtures("processes")
@WITHOUT
def test_two_branches_that_each_remove_a_job_remember_both():
    branches(lambda: remove("Alpha"), lambda: remove("Omega"))
    git(*MERGE, status=0)
    targcc_gen("regenerate")
    assert len(Lock.load(Path()).removed) == 2


@pytest.fixture
def program(request, tmp_path, monkeypatch):
    """Make git find no `targcc-gen`, or a program that fails."""
    folders = os.environ["PATH"].split(os.pathsep)
    rest = [folder for folder in folders if not (Path(folder) / "targcc-gen").exists()]
    if request.param is not None:
        broken = tmp_path / "bin" / "targcc-gen"
        broken.parent.mkdir()
        broken.write_text(f"#!/bin/sh\nexit {request.param}\n", encoding="utf-8")
        broken.chmod(0o755)
        rest.insert(0, str(broken.parent))
    monkeypatch.setenv("PATH", os.pathsep.join(rest))
    return "is not on the PATH" if request.param is None else "failed"


DRIVEN = pytest.mark.parametrize("driver", [True], ids=[DRIVER], indirect=True)
PROGRAMS = pytest.mark.parametrize("program", [None, 1, 2, 127], indirect=True)


@pytest.mark.usefixtures("processes")
@DRIVEN
@PROGRAMS
def test_without_its_program_the_driver_marks_what_both_changed(program):
    branches(
        lambda: change("retries: 2", "retries: 4"),
        lambda: change("retries: 2", "retries: 5"),
    )
    output = git_said("merge", "topic", status=1)
    assert f"targcc-gen {program}" in output
    assert "targcc.yaml line by line" in output
    text = Path("targcc.yaml").read_text(encoding="utf-8")
    assert "<<<<<<< ours\n    retries: 4\n=======\n    retries: 5\n>>>>>>> theirs\n" in text


@pytest.mark.usefixtures("processes")
@DRIVEN
@PROGRAMS
def test_without_its_program_the_driver_takes_what_each_changed(program):
    branches(
        lambda: change("retries: 2", "retries: 4"),
        lambda: edit("targcc.yaml", "Comes last", "Comes at the end"),
    )
    output = git_said("merge", "--no-edit", "topic")
    assert f"targcc-gen {program}" in output
    text = Path("targcc.yaml").read_text(encoding="utf-8")
    assert "retries: 4" in text
    assert "Comes at the end" in text


@pytest.mark.usefixtures("processes")
@DRIVEN
def test_the_driver_itself_merges_where_its_program_is_there():
    branches(
        lambda: change("retries: 2", "retries: 4"),
        lambda: change("retries: 2", "retries: 5"),
    )
    assert "line by line" not in git_said("merge", "topic", status=1)
    assert "<<<<<<< ours\n" in Path("targcc.yaml").read_text(encoding="utf-8")
