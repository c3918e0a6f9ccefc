"""A killed run, and everything that can happen before the next run: people keep editing, and a repository is not trusted."""

import json
import random
import shutil
from pathlib import Path

import pytest
from targcc_gen.errors import ConflictError, TargccError
from targcc_gen.sync import apply, journal, make_plan
from targcc_gen.sync.apply import WriteError, _Run
from targcc_gen.sync.disk import Files
from targcc_gen.sync.journal import Pending, UnfinishedError, recover
from test_sync_apply import OPERATIONS, first, operations, second, state

SEEDS = [*range(30), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(30, 330))]


class KillError(BaseException):
    """Simulate the death of the process."""


class Killed(Files):
    """Disk of a process that is killed before its nth operation."""

    def __init__(self, at):
        self.at, self.count = at, 0

    def __getattribute__(self, name):
        if name in OPERATIONS:
            self.count += 1
            if self.count == self.at:
                raise KillError
        return super().__getattribute__(name)


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    apply(make_plan(first(), root))
    return root


def kill(root, at, tree=second):
    """Leave the folder as a killed process leaves it, without cleanup."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Run, "_clean_up", lambda *_, **__: None)
        patch.setattr(_Run, "_undo", lambda *_: None)
        with pytest.raises(KillError):
            apply(make_plan(tree(), root), files=Killed(at))


@pytest.fixture(scope="module")
def total(tmp_path_factory):
    root = tmp_path_factory.mktemp("count") / "project"
    apply(make_plan(first(), root))
    return operations(make_plan(second(), root))


class Person:
    """Person who keeps editing and remembers the edits."""

    def __init__(self, root, chance):
        self.root, self.chance = root, chance
        self.lines = {}
        self.deleted = set()

    def act(self):
        """Append to a file, delete a file or create a file."""
        files = [
            path
            for path in self.root.rglob("*")
            if path.is_file() and ".targcc" not in path.relative_to(self.root).parts
        ]
        kind = self.chance.choice(["edit", "edit", "delete", "make"]) if files else "make"
        path = self.chance.choice(files or [self.root / "own"])
        if kind == "make":
            path = path.with_name(f"own{self.chance.randrange(1000)}.py")
        line = f"# mine {self.chance.randrange(10**9)}"
        if kind == "delete":
            path.unlink()
            self.lines.pop(path, None)
            if (
                "gone" not in path.parts
            ):  # the killed run was about to delete this file too: undoing the run restores it
                self.deleted.add(path)
        else:
            before = path.read_bytes() if path.exists() else b""
            path.write_bytes(before + f"{line}\n".encode())
            self.lines.setdefault(path, []).append(line)
            self.deleted.discard(path)

    def lost(self):
        """Return the lines missing from their files, and the deleted files that are back."""
        current_lines = {
            path: path.read_text().splitlines() if path.exists() else [] for path in self.lines
        }
        gone = [
            line
            for path, lines in self.lines.items()
            for line in lines
            if line not in current_lines[path]
        ]
        return gone + [str(path) for path in self.deleted if path.exists()]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_people_write_after_a_kill_stays(project, total, seed):
    chance = random.Random(seed)
    kill(project, chance.randrange(2, total + 1))
    person = Person(project, chance)
    for _ in range(chance.randrange(1, 5)):
        person.act()
    before = state(project)
    for _ in range(2):
        with pytest.raises(UnfinishedError, match="killed while it wrote"):
            make_plan(second(), project)
    assert state(project) == before
    newer = recover(project)
    assert person.lost() == []
    assert {path.relative_to(project).as_posix() for path in person.lines} >= set(newer) - {
        path.relative_to(project).as_posix() for path in person.deleted
    }
    assert not (project / ".targcc/pending").exists()


@pytest.mark.parametrize("at", [8, 16, 18, 20])
def test_a_kill_while_undoing_is_undone_too(project, at):
    before = state(project)
    kill(project, 22)
    with pytest.raises(KillError):
        recover(project, Killed(at - 15 if at > 15 else 1))
    assert recover(project) == []
    assert state(project) == before


def test_what_stays_is_named_beforehand_and_afterwards(project):
    kill(project, 23)
    (project / "kept/a.py").write_text("a = 2\nb = 'mine'\n")
    with pytest.raises(UnfinishedError) as raised:
        make_plan(second(), project)
    assert "stays as it is  kept/a.py: written since" in raised.value.message
    assert "to be put back  " in raised.value.message
    assert recover(project) == ["kept/a.py"]
    assert (project / "kept/a.py").read_text() == "a = 2\nb = 'mine'\n"


# Content that another person could plant in a repository to redirect writes.


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    path.write_text("alive\n")
    return path


def commit_pending(project, steps, folders=()):
    pending = project / ".targcc/pending"
    (pending / "0").mkdir(parents=True)
    (pending / "0/0.old").write_text("theirs\n")
    (pending / "journal.json").write_text(json.dumps({"steps": steps, "folders": folders}))
    return pending


def digest(text):
    from targcc_gen.sync.journal import digest_of

    return digest_of(text.encode())


@pytest.mark.parametrize("path", ["README.md", "../canary", "link", "linked/canary"])
def test_a_journal_that_a_repository_holds_is_not_followed(project, canary, path):
    (project / "README.md").write_text("mine\n")
    (project / "link").symlink_to(canary)
    (project / "linked").symlink_to(canary.parent)
    step = {"path": path, "number": 0, "before": digest("theirs\n"), "after": digest("mine\n")}
    commit_pending(project, [step])
    before = state(project)
    for act in (lambda: make_plan(first(), project), lambda: recover(project)):
        with pytest.raises(ConflictError, match="not left by a run of yours in this folder"):
            act()
    assert state(project) == before
    assert canary.read_text() == "alive\n"


def test_a_journal_of_ours_that_was_changed_is_not_followed(project):
    kill(project, 20)
    journal = project / ".targcc/pending/journal.json"
    journal.write_bytes(journal.read_bytes().replace(b"kept/", b"kept/../"))
    before = state(project)
    with pytest.raises(ConflictError, match="not left by a run of yours"):
        recover(project)
    assert state(project) == before


def test_a_journal_is_not_followed_in_another_folder(project, tmp_path):
    kill(project, 20)
    copied = shutil.copytree(project, tmp_path / "elsewhere")
    with pytest.raises(ConflictError, match="not left by a run of yours"):
        recover(copied)
    assert recover(project) == []


def test_copies_that_were_exchanged_are_not_put_back(project):
    kill(project, 22)
    for old in (project / ".targcc/pending").rglob("*.old"):
        old.write_text("theirs\n")
    with pytest.raises(TargccError, match="is not what it was"):
        recover(project)


@pytest.mark.parametrize("name", [".targcc/pending", ".targcc"])
def test_a_folder_of_ours_that_is_a_link_is_not_written_to(project, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    place = project / name
    if place.exists():
        shutil.move(place, outside / "moved")
    place.symlink_to(outside)
    before = state(outside)
    with pytest.raises(TargccError, match=r"is no folder|is a link"):
        apply(make_plan(second(), project))
    with pytest.raises(ConflictError, match="is no folder"):
        recover(project)
    assert state(outside) == before


def test_undoing_follows_no_link(project, canary):
    kill(project, 22)
    for step in ("kept", "made"):
        folder = project / step
        if folder.exists():
            shutil.move(folder, project / f"{step}.away")
        folder.symlink_to(canary.parent)
    for name in ("a.py", "b.py"):
        (canary.parent / name).write_text("outside\n")
    recover(project)
    assert {(canary.parent / name).read_text() for name in ("a.py", "b.py")} == {"outside\n"}


def test_a_claim_is_made_where_no_other_user_writes(project, tmp_path, monkeypatch):
    """Without a home directory, the claim is in the temporary folder, but not in a folder there that another user owns."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "no"))
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(journal.tempfile, "gettempdir", lambda: str(tmp_path))
    kill(project, 20)
    assert recover(project) == []
    [spare] = tmp_path.glob("targcc-gen-*")
    (spare / "runs").chmod(0o777)
    with pytest.raises(WriteError, match=r"belongs to somebody else|Not a directory"):
        apply(make_plan(second(), project), files=Files())


def test_a_second_run_leaves_the_claim_of_a_killed_one_alone(project):
    before = state(project)
    plan = make_plan(second(), project)
    kill(project, 20)
    with pytest.raises(ConflictError, match="another targcc-gen is writing"):
        apply(plan)
    assert recover(project) == []
    assert state(project) == before


def test_a_run_that_was_killed_before_its_claim_left_nothing(project):
    (project / ".targcc/pending").mkdir()
    assert recover(project) == []
    assert not (project / ".targcc/pending").exists()


def test_what_is_left_of_a_run_that_touched_nothing_is_removed(project):
    kill(project, 3)
    assert not Pending(project).journal.exists()
    assert recover(project) == []
    assert not (project / ".targcc/pending").exists()
    assert [path.name for path in (project / ".targcc").iterdir()] == ["lock.jsonl"]
    apply(make_plan(second(), project))
    assert Path(project / "kept/a.py").exists()
