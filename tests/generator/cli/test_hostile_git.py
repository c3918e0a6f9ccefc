"""A hostile repository names programs in its configuration and contains programs: no read-only command starts them."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import targcc_gen
from click.testing import CliRunner
from targcc_gen.cli import main

LOOKING = [
    ["status"],
    ["status", "--json"],
    ["regenerate", "--check"],
    ["regenerate", "--dry-run", "--diff"],
    ["job", "NewJob", "--manual", "--dry-run"],
    ["pull", "--dry-run"],
    ["doctor"],
    ["patch", "--dry-run", "src/acme_jobs/main.py"],
]
SPEC = "targcc.yaml"
MODULE = "src/acme_jobs/scheduler.py"
WITH_SHELL = pytest.mark.skipif(os.name == "nt", reason="the planted programs are shell scripts")
pytestmark = WITH_SHELL


def git(folder: Path, *arguments: str, status: int = 0) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == status, f"{arguments}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="targcc-gen")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    root = tmp_path_factory.mktemp("fresh") / "acme-jobs"
    run("new", str(root), "--yes", "--scheduler", "package")
    return root


@pytest.fixture
def project(fresh, tmp_path, monkeypatch):
    """Create a repository with a conflicted spec, so that the command asks git for the versions."""
    root = tmp_path / "acme-jobs"
    shutil.copytree(fresh, root)
    git(root, "init", "-q")
    spec = root / SPEC
    base = spec.read_text()
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "base")
    git(root, "checkout", "-q", "-b", "topic")
    spec.write_text(base + "  Topic: {type: manual}\n")
    git(root, "commit", "-q", "-a", "-m", "topic")
    git(root, "checkout", "-q", "main")
    spec.write_text(base + "  Ours: {type: manual}\n")
    git(root, "commit", "-q", "-a", "-m", "ours")
    git(root, "merge", "-q", "topic", status=1)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "ran"


@pytest.fixture
def program(tmp_path, marker):
    """Create a program that appends a line each time it runs."""
    return planted(tmp_path / "program", marker)


def planted(path: Path, marker: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$0 $*" >> {marker}\nexit 1\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def set_hostile(root: Path, program: Path) -> None:
    """Set the program in every configuration value that may name a program, by git's manual."""
    included = root / ".git" / "included"
    included.write_text(f"[core]\n\tsshCommand = {program}\n\tfsmonitor = {program}\n")
    values = {
        "core.fsmonitor": program,
        "core.sshCommand": program,
        "core.gitProxy": program,
        "core.askPass": program,
        "core.editor": program,
        "core.pager": program,
        "core.hooksPath": program.parent,
        "core.alternateRefsCommand": program,
        "core.attributesFile": root / ".gitattributes",
        "sequence.editor": program,
        "diff.external": program,
        "diff.evil.command": program,
        "diff.evil.textconv": program,
        "merge.evil.driver": program,
        "merge.targcc.driver": program,
        "filter.evil.clean": program,
        "filter.evil.smudge": program,
        "filter.evil.process": program,
        "filter.evil.required": "true",
        "gpg.program": program,
        "gpg.ssh.program": program,
        "credential.helper": program,
        "interactive.diffFilter": program,
        "include.path": included,
        f"includeIf.gitdir:{root}/.path": included,
        "pager.ls-files": program,
        "pager.cat-file": program,
        "alias.cat-file": f"!{program}",
        "uploadpack.packObjectsHook": program,
        "protocol.ext.allow": "always",
        "protocol.allow": "always",
        "extensions.partialClone": "evil",
        "remote.evil.url": f"ext::{program}",
        "remote.evil.vcs": "",
        "remote.evil.promisor": "true",
        "remote.evil.partialclonefilter": "blob:none",
        "remote.evil.uploadpack": program,
        "remote.evil.proxy": "ext::x",
        "transfer.fsckObjects": "true",
        "trace2.eventTarget": f"/{program.parent}/trace",
    }
    git(root, "config", "core.repositoryformatversion", "1")
    for name, value in values.items():
        git(root, "config", name, str(value))
    git(root, "config", "--unset", "remote.evil.vcs")
    (root / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    for name in (
        "post-checkout",
        "post-index-change",
        "fsmonitor-watchman",
        "reference-transaction",
    ):
        shutil.copy(program, root / ".git" / "hooks" / name)
        shutil.copy(program, program.parent / name)


def lose_versions(root: Path) -> None:
    """Remove the blobs of the conflict, like a partial clone."""
    for line in git(root, "ls-files", "--unmerged", SPEC).splitlines():
        blob = line.split()[1]
        (root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("url", ["ext", "ssh"])
@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_no_program_of_a_partial_clones_configuration_runs(project, program, marker, command, url):
    set_hostile(project, program)
    lose_versions(project)
    if url == "ssh":
        git(project, "config", "remote.evil.url", "ssh://git@example.invalid/evil.git")
        git(project, "config", "--unset", "remote.evil.proxy")
    marker.unlink(missing_ok=True)
    run(*command)
    assert not marker.exists(), marker.read_text()


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("command", LOOKING[:3], ids=" ".join)
def test_the_versions_of_a_conflict_are_read_in_spite_of_the_configuration(
    project, program, marker, command
):
    set_hostile(project, program)
    marker.unlink(missing_ok=True)
    output = run(*command)
    assert "targcc.yaml" in output
    assert "could not merge" not in output
    assert not marker.exists(), marker.read_text()


@pytest.mark.usefixtures("processes")
def test_a_trial_by_git_itself_runs_the_program(project, program, marker):
    """Prove that git itself obeys the planted configuration; otherwise the tests above would show nothing."""
    set_hostile(project, program)
    lose_versions(project)
    marker.unlink(missing_ok=True)
    blob = git(project, "ls-files", "--unmerged", SPEC, status=0).split()[1]
    subprocess.run(["git", "cat-file", "blob", blob], cwd=project, capture_output=True, check=False)
    assert marker.exists()


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_no_program_that_the_repository_carries_runs(project, marker, command, monkeypatch):
    """Programs in `.venv`, and in the project folder with a relative entry on PATH."""
    if command != LOOKING[0]:  # one command needs the conflict, because it asks git
        git(project, "checkout", "-q", "-f", "main")
        spec = project / SPEC
        spec.write_text(spec.read_text().replace("retries: 3", "retries: 7"))
    for name in ("bin/ruff", "bin/python", "bin/black", "bin/git"):
        planted(project / ".venv" / name, marker)
    for name in ("git", "ruff", "uv"):
        planted(project / name, marker)
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", os.environ["PATH"]]))
    module = project / MODULE
    module.write_text(module.read_text().replace('"', "'") + "mine = 1\n")  # like a formatter
    run(*command)
    assert not marker.exists(), marker.read_text()


@pytest.mark.usefixtures("processes")
def test_no_module_beside_an_export_is_imported(tmp_path, marker, monkeypatch):
    source = f"open({str(marker)!r}, 'w').close()\n"
    for name in ("json.py", "pickle.py", "pathlib.py", "targcc_gen.py"):
        (tmp_path / name).write_text(source)
    (tmp_path / "jobs.xls").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    monkeypatch.chdir(tmp_path)
    run("import-legacy", "jobs.xls", "--timezone", "UTC", "--new", "app")
    assert not marker.exists()


def test_git_is_started_in_no_other_module():
    """Each further call of git would have to disable the programs that a repository may name."""
    root = Path(targcc_gen.__file__).parent
    callers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if '"git"' in path.read_text(encoding="utf-8")
    }
    assert callers == {"git.py"}


@pytest.mark.usefixtures("processes")
def test_the_merge_driver_is_installed_without_the_repositorys_programs(project, program, marker):
    git(project, "checkout", "-q", "-f", "main")
    set_hostile(project, program)
    marker.unlink(missing_ok=True)
    run("merge-driver", "--install")
    assert not marker.exists(), marker.read_text()
    assert "targcc-gen" in git(project, "config", "merge.targcc.driver")
    assert "merge=targcc" in (project / ".git/info/attributes").read_text()


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("kind", ["worktree", "sha256"])
def test_versions_are_read_in_every_kind_of_repository(project, tmp_path, kind):
    from targcc_gen.sync.branches import stages_of

    folder = tmp_path / "other"
    if kind == "worktree":
        git(project, "checkout", "-q", "-f", "main")
        git(project, "worktree", "add", "-q", "-b", "third", str(folder))
    else:
        folder.mkdir()
        git(folder, "init", "-q", "--object-format=sha256")
        (folder / SPEC).write_text("base\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "base")
        git(folder, "checkout", "-q", "-b", "topic")
        (folder / SPEC).write_text("theirs\n")
        git(folder, "commit", "-q", "-a", "-m", "theirs")
        git(folder, "checkout", "-q", "main")
        (folder / SPEC).write_text("ours\n")
        git(folder, "commit", "-q", "-a", "-m", "ours")
    git(folder, "merge", "-q", "topic", status=1)
    stages = stages_of(folder, SPEC)
    assert stages.ours is not None
    assert stages.theirs is not None
    assert stages.base is not None
    below = folder / "src"
    below.mkdir(exist_ok=True)
    assert stages_of(below, SPEC).ours is None  # a path is relative to the current folder
