"""Writing is all or nothing, for any failure at any time."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from targcc_gen.errors import ConflictError
from targcc_gen.sync import Owner, Plan, Tree, TreeFile, apply, make_plan
from targcc_gen.sync.apply import WriteError
from targcc_gen.sync.disk import Files
from targcc_gen.sync.journal import recover

OPERATIONS = ("make_folder", "write", "copy", "replace", "remove", "remove_folder")


class FailingFiles(Files):
    """Disk whose nth operation fails."""

    def __init__(self, at: int, error: BaseException) -> None:
        self.at = at
        self.error = error
        self.count = 0

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        if name not in OPERATIONS:
            return value

        def operation(*arguments, **options):
            self.count += 1
            if self.count == self.at:
                raise self.error
            return value(*arguments, **options)

        return operation


def first() -> Tree:
    return Tree.of(
        [
            TreeFile("kept/a.py", b"a = 1\n", Owner.MANAGED),
            TreeFile("gone/deep/b.py", b"b = 1\n", Owner.MANAGED),
            TreeFile("gone/deep/c.py", b"c = 1\n", Owner.MANAGED),
            TreeFile("run.sh", b"#!/bin/sh\n", Owner.MANAGED, executable=True),
        ]
    )


def second() -> Tree:
    return Tree.of(
        [
            TreeFile("kept/a.py", b"a = 2\n", Owner.MANAGED),
            TreeFile("made/deep/d.py", b"d = 1\n", Owner.MANAGED),
            TreeFile("made/e.py", b"e = 1\n", Owner.MANAGED),
            TreeFile("run.sh", b"#!/bin/bash\n", Owner.MANAGED, executable=True),
        ]
    )


def state(root: Path) -> dict[str, tuple[bytes, int] | None]:
    """Return every file and folder with content and mode."""
    return {
        path.relative_to(root).as_posix(): (
            None if path.is_dir() else (path.read_bytes(), path.stat().st_mode)
        )
        for path in root.rglob("*")
    }


def operations(plan: Plan) -> int:
    counter = FailingFiles(0, OSError())
    apply(plan, files=counter)
    return counter.count


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    apply(make_plan(first(), root))
    return root


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_whichever_operation_fails_everything_is_as_it_was(tmp_path, error):
    scratch = tmp_path / "scratch"
    apply(make_plan(first(), scratch))
    total = operations(make_plan(second(), scratch))
    assert total > 20

    root = tmp_path / "project"
    apply(make_plan(first(), root))
    before = state(root)
    for at in range(1, total + 1):
        expected = WriteError if isinstance(error, OSError) else type(error)
        with pytest.raises(expected):
            apply(make_plan(second(), root), files=FailingFiles(at, error))
        assert state(root) == before, f"operation {at}"
    apply(make_plan(second(), root))
    assert state(root) == state(scratch)


def test_whichever_operation_fails_a_new_project_leaves_nothing(tmp_path):
    total = operations(make_plan(first(), tmp_path / "scratch" / "deep"))
    for at in range(1, total + 1):
        plan = make_plan(first(), tmp_path / "new" / "deep")
        with pytest.raises(WriteError):
            apply(plan, files=FailingFiles(at, OSError(28, "No space left on device")))
        assert not (tmp_path / "new").exists(), f"operation {at}"


def test_a_full_disk_says_so(tmp_path):
    error = OSError(28, "No space left on device", "a.py")
    with pytest.raises(WriteError) as raised:
        apply(make_plan(first(), tmp_path / "new"), files=FailingFiles(5, error))
    assert raised.value.message == "No space left on device: a.py"
    assert raised.value.hint == "everything is as it was before"


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_sync_apply import OPERATIONS, first, second
    from targcc_gen.sync import apply, make_plan
    from targcc_gen.sync.disk import Files

    class Killed(Files):
        count = 0
        def __getattribute__(self, name):
            if name in OPERATIONS:
                Killed.count += 1
                if Killed.count == {at}:
                    os.kill(os.getpid(), signal.SIGKILL)
            return super().__getattribute__(name)

    apply(make_plan({tree}(), Path({root!r})), files=Killed())
"""


def killed_at(at: int, tree: str, root: Path) -> None:
    script = textwrap.dedent(KILLED).format(
        tests=str(Path(__file__).parent), at=at, tree=tree, root=str(root)
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL


# The first and last operation of each stage: folders, staged files, journal, replacements, deletions, end of the journal.
@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("at", [1, 3, 6, 12, 15, 17, 19, 21, 23, 24])
def test_a_killed_run_is_undone_by_the_next(project, at):
    before = state(project)
    killed_at(at, "second", project)
    assert recover(project) == []
    assert state(project) == before
    apply(make_plan(second(), project))
    assert not (project / ".targcc/pending").exists()
    assert make_plan(second(), project).is_empty


@pytest.mark.usefixtures("processes")
def test_a_killed_new_project_can_be_made_again(tmp_path):
    root = tmp_path / "new"
    killed_at(14, "first", root)
    assert recover(root) == []
    apply(make_plan(first(), root))
    assert make_plan(first(), root).is_empty


def test_two_runs_at_once_do_not_mix(project):
    class Meanwhile(Files):
        def copy(self, source, target):
            with pytest.raises(ConflictError, match="another targcc-gen is writing"):
                make_plan(second(), project)
            super().copy(source, target)

    apply(make_plan(second(), project), files=Meanwhile())
    assert make_plan(second(), project).is_empty


def test_a_file_saved_after_planning_is_not_overwritten(project):
    plan = make_plan(second(), project)
    (project / "kept/a.py").write_text("a = 3\n")
    with pytest.raises(ConflictError, match="changed while the plan was made"):
        apply(plan)
    assert (project / "kept/a.py").read_text() == "a = 3\n"
    assert not (project / "made").exists()


def test_a_plan_older_than_another_run_is_refused(project):
    plan = make_plan(second(), project)
    more = Tree.of([TreeFile("more.py", b"", Owner.MANAGED)], complete=False)
    apply(make_plan(more, project))
    with pytest.raises(ConflictError, match="another targcc-gen has written"):
        apply(plan)
    assert (project / "more.py").exists()


@pytest.mark.usefixtures("processes")
def test_a_real_limit_of_the_system_is_undone_too(project):
    before = state(project)
    script = f"""
        import resource, signal, sys
        from pathlib import Path
        from targcc_gen.sync import Owner, Tree, TreeFile, apply, make_plan
        from targcc_gen.sync.apply import WriteError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        big = Tree.of([TreeFile("a.bin", bytes(100), Owner.MANAGED), TreeFile("b.bin", bytes(50_000), Owner.MANAGED)])
        plan = make_plan(big, Path({str(project)!r}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            apply(plan)
        except WriteError:
            sys.exit(7)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == 7
    assert state(project) == before


def test_nothing_to_do_touches_nothing(project):
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    apply(make_plan(first(), project))
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before


def test_progress_ends_with_all_of_it(tmp_path):
    reports = []
    apply(make_plan(first(), tmp_path), progress=lambda done, total: reports.append((done, total)))
    assert [done for done, _ in reports] == list(range(1, 11))
    assert {total for _, total in reports} == {10}
