"""Apply a plan: all of it, or nothing.

New files are staged and old files copied first, so a full disk shows before any file of the project changes. Each file is then replaced
atomically, the lock last. On a failure or a signal the copies are restored. After a kill the next run restores the copies.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from targcc_gen.errors import BusyError, ConflictError, ObstacleError, RollbackError, TargccError
from targcc_gen.render.tree import LOCK_PATH, PENDING_PATH
from targcc_gen.sync.disk import Disk, Files
from targcc_gen.sync.journal import Journal, Pending, RunClaim, Step, busy, digest_of, guarded
from targcc_gen.sync.plan.plan import Action, Change, Plan


class WriteError(TargccError):
    """The disk refused; everything is as it was."""

    code = "TG210"
    kind = "write"


def apply(
    plan: Plan,
    *,
    files: Files | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the files of `plan`.

    Args:
        plan: A plan made just now.
        files: Writer to the disk.
        progress: Called with the number of finished steps and of all steps.

    Raises:
        ConflictError: A conflict is not settled, or a file has changed since the plan was made. Nothing was written.
        WriteError: Writing to the disk failed. Every file is as before.
    """
    if any(change.after is None for change in plan.conflicts):
        raise ConflictError("a conflict is not settled: nothing was written")
    if any(change.writes for change in plan.changes) or plan.lock_changes:
        _Run(plan, files or Files(), progress).carry_out()


class _Run:
    """One writing run.

    Args:
        plan: The plan to apply.
        files: Writer to the disk.
        progress: Called with the number of finished steps and of all steps.
    """

    def __init__(
        self, plan: Plan, files: Files, progress: Callable[[int, int], None] | None
    ) -> None:
        self.plan = plan
        self.files = files
        self.progress = progress
        self.pending = Pending(plan.root)
        self.writes = [change for change in plan.changes if change.writes]
        self.journal = _journal(plan, self.writes)
        self.claim = RunClaim(plan.root)
        self.made: list[Path] = []
        self.newer: list[str] = []

    def carry_out(self) -> None:
        """Stage, then replace; undo on any failure."""
        try:
            self._open()
            with self.pending.guard.open("xb") as guard, guarded(guard):
                self._write_all()
        except OSError as error:
            self._clean_up(undone=True)
            raise WriteError(
                f"{error.strerror or error}: {error.filename or self.plan.root}",
                hint=self._what_stands(),
            ) from error
        except BaseException:
            self._clean_up(undone=True)
            raise
        self._clean_up(undone=False)

    def _what_stands(self) -> str:
        if not self.newer:
            return "everything is as it was before"
        return f"everything is as it was before, but what somebody wrote meanwhile stays: {', '.join(self.newer)}"

    def _open(self) -> None:
        """Create the project's folder and the staging folder."""
        root, pending = self.plan.root, self.pending.folder
        if pending.parent.is_symlink():
            raise ObstacleError(f"{pending.parent} is a link", hint="remove it and run this again")
        for folder in [*reversed(root.parents), root, pending.parent]:
            if not folder.is_dir():
                self.files.make_folder(folder)
                self.made.append(folder)
        try:
            self.files.make_folder(pending)
        except FileExistsError as error:
            raise busy() from error
        self.made.append(pending)
        self.claim.begin()  # only now: an earlier claim may belong to another run

    def _write_all(self) -> None:
        try:
            self._stage()
            self._check_unchanged()
            self._publish()
        except BaseException:
            if self.pending.journal.exists():
                with _no_interrupts():
                    self._undo()
            raise

    def _stage(self) -> None:
        """Write the new files and copy the old files into the staging folder."""
        for shelf in dict.fromkeys(map(self.pending.shelf, self.journal.steps)):
            self.files.make_folder(shelf)
        contents = [change.after for change in self.writes] + [self.plan.lock_after.encode()]
        for step, content in zip(self.journal.steps, contents, strict=True):
            if step.before is not None:
                self.files.copy(self.plan.root / step.path, self.pending.old(step))
            if content is not None:
                self.files.write(self.pending.new(step), content, mode=self._mode(step))
            self._report(step.number)

    def _report(self, done: int) -> None:
        if self.progress is not None:
            self.progress(
                done + 1, 2 * len(self.journal.steps)
            )  # two steps a file: staged, then moved

    def _mode(self, step: Step) -> int | None:
        """Return the permission bits of the new version; None for the default bits."""
        if step.before is not None:
            return (self.plan.root / step.path).stat().st_mode & 0o7777
        executable = step.path != LOCK_PATH and self.writes[step.number].executable
        return 0o755 if executable else None

    def _check_unchanged(self) -> None:
        """Raise ConflictError where a file changed since the plan was made: replacing the file would lose that text."""
        disk = Disk(self.plan.root)
        for change in self.writes:
            on_disk = disk.look(change.path)
            if on_disk.raw != change.before or (on_disk.blocked and change.before is None):
                raise BusyError(
                    f"{change.path} changed while the plan was made",
                    hint="run the command again",
                )
        before = self.plan.lock_before
        if disk.look(LOCK_PATH).raw != (None if before is None else before.encode()):
            raise BusyError(
                "another targcc-gen has written to this project", hint="run the command again"
            )

    def _publish(self) -> None:
        """Replace file by file, the lock last."""
        draft = self.pending.folder / "draft"
        text = self.journal.dump()
        self.claim.sign(text)
        self.files.write(draft, text)
        self.files.replace(draft, self.pending.journal)
        for folder in self.journal.folders:
            self.files.make_folder(self.plan.root / folder)
        for step in self.journal.steps:
            target = self.plan.root / step.path
            if step.after is not None:
                self.files.replace(self.pending.new(step), target)
            else:
                self.files.remove(target)
            self._report(len(self.journal.steps) + step.number)
        self._remove_empty_folders()
        self.files.remove(self.pending.journal)  # from here on the run is committed, whatever fails

    def _remove_empty_folders(self) -> None:
        """Remove each folder whose last file was deleted."""
        gone = [self.plan.root / step.path for step in self.journal.steps if step.after is None]
        for path in gone:
            for folder in path.parents:
                if folder == self.plan.root or (folder.is_dir() and any(folder.iterdir())):
                    break
                if folder.is_dir():
                    self.files.remove_folder(folder)

    def _undo(self) -> None:
        try:
            self.newer = self.pending.undo(self.journal, Files())
        except OSError as error:
            raise RollbackError(
                f"writing failed, and so did undoing it: {error}",
                hint=f"run this again to undo it; the old versions of the files are in {self.pending.folder}",
            ) from error

    def _clean_up(self, *, undone: bool) -> None:
        """Remove the staging folder, unless undoing still needs the copies."""
        if self.pending.folder not in self.made:
            self._remove_made()
        elif not self.pending.journal.exists():
            with _no_interrupts():
                self.pending.remove(self.journal if undone else None, Files())
                self.claim.end()
                if undone:
                    self._remove_made()

    def _remove_made(self) -> None:
        for folder in reversed(self.made):
            with contextlib.suppress(OSError):  # gone, or not empty
                folder.rmdir()


def _journal(plan: Plan, writes: list[Change]) -> Journal:
    steps = [
        Step(
            change.path,
            number,
            before=digest_of(change.before),
            after=None if change.action is Action.DELETE else digest_of(change.after),
        )
        for number, change in enumerate(writes)
    ]
    before = None if plan.lock_before is None else plan.lock_before.encode()
    after = digest_of(plan.lock_after.encode())
    steps.append(Step(LOCK_PATH, len(steps), before=digest_of(before), after=after))
    folders = {parent for change in writes for parent in _folders(change.path)}
    missing = {folder for folder in folders if not (plan.root / folder).is_dir()}
    return Journal(tuple(steps), tuple(sorted(missing - {PENDING_PATH.rpartition("/")[0]})))


def _folders(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Ignore SIGINT: a second Ctrl-C must not stop the undo that follows the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
