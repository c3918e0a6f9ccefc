"""Commands in an untrusted repository: reading writes nothing, writing stays inside, and committed input is checked."""

import base64
import bz2
import json
import os
import shutil
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from targcc_gen.cli import main

LOOKING = [
    ["status"],
    ["status", "--json"],
    ["regenerate", "--check"],
    ["regenerate", "--check", "--json"],
    ["regenerate", "--dry-run"],
    ["regenerate", "--dry-run", "--diff"],
    ["job", "NewOne", "--manual", "--dry-run"],
    ["job", "--remove", "Heartbeat", "--dry-run", "--diff"],
    ["restore", "README.md", "--dry-run"],
    ["eject", "src/acme_jobs/scheduler.py", "--dry-run"],
    ["scheduler", "vendored", "--dry-run"],
    ["patch", "--dry-run", "src/acme_jobs/main.py"],
    ["doctor"],
    ["doctor", "--json"],
    ["pull", "--dry-run"],
    ["blueprints", "check"],
    ["blueprints", "fetch", "--dry-run"],
]
WRITING = [
    ["regenerate"],
    ["job", "NewOne", "--manual"],
    ["restore", "README.md", "--discard-edits"],
    ["eject", "src/acme_jobs/scheduler.py"],
    ["scheduler", "vendored"],
]
SOME = [
    pytest.param(command, marks=() if number in {0, 2, 5, 11, 12} else pytest.mark.soak)
    for number, command in enumerate(LOOKING)
]
CANARY = "outside: this text is nobody's business\n"


def targcc_gen(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="targcc-gen")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    root = tmp_path_factory.mktemp("fresh") / "acme-jobs"
    assert targcc_gen("new", str(root), "--yes", "--scheduler", "package").exit_code == 0
    return root


@pytest.fixture
def project(fresh, tmp_path, monkeypatch):
    root = tmp_path / "acme-jobs"
    shutil.copytree(fresh, root)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text(CANARY)
    return folder


def everything(root: Path) -> dict[str, tuple[object, ...]]:
    """Return every entry with its mode, times and content."""
    entries = {}
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        entries[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_ctime_ns, content)
    return entries


def no_traceback(result: Result) -> None:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in {0, 1, 2, 3}, result.output


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_who_looks_writes_nothing(project, command):
    # gives the commands differences to show
    for path in ("README.md", "src/acme_jobs/jobs/heartbeat.py"):
        with (project / path).open("a", encoding="utf-8") as file:
            file.write("# mine\n")
    (project / "compose.yaml").unlink()
    before = everything(project)
    no_traceback(targcc_gen(*command))
    assert everything(project) == before


@pytest.mark.parametrize("command", SOME, ids=" ".join)
def test_who_looks_writes_nothing_beside_a_journal_either(project, outside, command):
    pending = project / ".targcc/pending"
    (pending / "0").mkdir(parents=True)
    (pending / "0/0.old").write_text("theirs\n")
    steps = [{"path": "README.md", "number": 0, "existed": True, "stays": True}]
    (pending / "journal.json").write_text(json.dumps({"steps": steps, "folders": ["x"]}))
    before, also = everything(project), everything(outside)
    no_traceback(targcc_gen(*command))
    assert everything(project) == before
    assert everything(outside) == also


@pytest.mark.parametrize("command", [*SOME, *WRITING], ids=" ".join)
def test_every_file_a_link_to_a_place_outside(project, outside, command):
    """Files outside are not written, and their content appears in no file and no output."""
    inside = [p for p in project.rglob("*") if p.is_file() and p.name != "targcc.yaml"]
    for number, path in enumerate(inside):
        target = outside / f"{number}"
        target.write_text(CANARY)
        path.unlink()
        path.symlink_to(target)
    before = everything(outside)
    result = targcc_gen(*command)
    no_traceback(result)
    assert everything(outside) == before
    assert "nobody's business" not in result.output
    regular = [p for p in project.rglob("*") if p.is_file() and not p.is_symlink()]
    assert [p for p in regular if b"nobody's business" in p.read_bytes()] == []


@pytest.mark.parametrize("command", [*SOME, *WRITING], ids=" ".join)
def test_every_folder_a_link_to_a_place_outside(project, outside, command):
    for folder in [p for p in project.iterdir() if p.is_dir()]:
        shutil.move(folder, outside / folder.name)
        folder.symlink_to(outside / folder.name)
    before = everything(outside)
    no_traceback(targcc_gen(*command))
    assert everything(outside) == before


@pytest.mark.parametrize("command", [["status"], ["regenerate"]], ids=" ".join)
def test_a_spec_that_is_a_link_to_a_place_outside_is_not_read(project, outside, command):
    (project / "targcc.yaml").unlink()
    (project / "targcc.yaml").symlink_to(outside / "secret")
    result = targcc_gen(*command)
    assert result.exit_code == 2
    assert "nobody's business" not in result.output


@cache
def bomb() -> str:
    """Return a compressed lock: 60 bytes a megabyte."""
    packed = base64.b85encode(bz2.compress(bytes(200_000_000), 9)).decode()
    path = "src/acme_jobs/scheduler.py"
    line = {"path": path, "owner": "managed", "sha256": "0", "base": packed}
    return f"{HEAD}{json.dumps(line)}\n"


HEAD = '{"targcc_lock": 1, "generator": "0.1.0"}\n'
LOCKS = {
    "empty": "",
    "bomb": "",  # built on demand
    "long number": '{"targcc_lock": 1, "generator": "' + "9" * 5_000 + '"}\n',
    "number": '{"targcc_lock": ' + "9" * 5_000 + "}\n",
    "deep": HEAD + "[" * 100_000 + "\n",
    "outside": HEAD + '{"path": "../outside/secret", "owner": "managed", "sha256": "0"}\n',
    "absolute": HEAD + '{"path": "/etc/passwd", "owner": "managed", "sha256": "0"}\n',
    "git": HEAD + '{"path": ".git/config", "owner": "managed", "sha256": "0"}\n',
    "types": HEAD + '{"path": [], "owner": {}, "sha256": 1}\n',
    "binary": "\udcff\udcfe",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "bomb")) for name in LOCKS],
)
@pytest.mark.parametrize("command", [["status"], ["regenerate"]], ids=" ".join)
def test_a_lock_that_somebody_made_up_is_refused_in_words(project, name, command):
    lock = bomb() if name == "bomb" else LOCKS[name]
    text = lock.encode("utf-8", "surrogateescape")
    (project / ".targcc/lock.jsonl").write_bytes(text)
    (project / "src/acme_jobs/scheduler.py").write_text("mine = 1\n")
    result = targcc_gen(*command)
    no_traceback(result)
    assert result.exit_code == 2
    assert "lock" in result.output


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files in folders")
@pytest.mark.parametrize("command", [["status"], ["regenerate"], ["doctor"]], ids=" ".join)
@pytest.mark.parametrize("path", [".targcc/lock.jsonl", "targcc.yaml", "README.md"])
@pytest.mark.parametrize("kind", ["zero", "pipe"])
def test_a_file_without_an_end_is_not_read(project, path, kind, command):
    (project / path).unlink()
    if kind == "zero":
        (project / path).symlink_to("/dev/zero")
    else:
        os.mkfifo(project / path)
    no_traceback(targcc_gen(*command))
