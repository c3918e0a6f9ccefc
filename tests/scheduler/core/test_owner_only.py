"""Files that only their owner can read; the calls to Windows are faked because these tests do not run on Windows."""

import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from targcc_scheduler.core import owner_only
from targcc_scheduler.db.dialects import sqlite
from targcc_scheduler.features.doctor import databases


class System:
    """Fake icacls: print a file name when the searched account is in the access list."""

    def __init__(self, *shared: str) -> None:
        self.shared = shared
        self.asked: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> tuple[int, str]:
        self.asked.append(list(command))
        if "/findsid" in command:
            shared = command[3] == owner_only.USERS and Path(command[1]).name in self.shared
            return 0, (
                f"SID Found: {command[1].upper()}.\n"
                if shared
                else "No files with a matching SID was found.\n"
            )
        return 0, ""

    @property
    def restricted(self) -> list[str]:
        return [Path(command[1]).name for command in self.asked if "/grant:r" in command]


def test_a_new_file_has_the_list_of_its_owner_and_an_old_one_stays_as_it_is(tmp_path: Path):
    system = System()
    windows, file = owner_only.Windows(system, "C:\\Windows\\System32"), tmp_path / "jobs.db"
    assert owner_only.create(file, windows)
    assert not owner_only.create(file, windows)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert system.asked == [
        [
            "C:\\Windows\\System32\\icacls.exe",
            str(file),
            "/inheritance:r",  # drop the permissions inherited from the folder
            "/grant:r",
            "*S-1-3-4:F",
            "*S-1-5-18:F",
            "*S-1-5-32-544:F",
            "/q",
        ]
    ]


def test_the_files_beside_a_private_one_follow_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    system = System("shared.db")
    monkeypatch.setattr(owner_only, "WINDOWS", owner_only.Windows(system, "C:\\Windows\\System32"))
    for name in ("jobs.db", "shared.db"):
        for end in ("", "-wal", "-shm"):
            (tmp_path / f"{name}{end}").touch()
        for _ in range(3):
            sqlite._on_do_connect(None, None, [str(tmp_path / name)], {})
    assert system.restricted == ["jobs.db-wal", "jobs.db-shm"]


def test_the_doctor_says_which_file_all_users_may_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(databases, "WINDOWS", owner_only.Windows(System("shared.db"), "C:\\W"))
    findings = [
        list(databases.private(tmp_path / name, "which holds runs"))
        for name in ("shared.db", "jobs.db")
    ]
    [[finding], nothing] = findings
    assert nothing == []
    assert "all users of this machine may read" in finding.what
    assert "icacls" in finding.advice


def test_what_icacls_refuses_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    owner_only.Windows(lambda _: (5, "Access is denied."), "C:\\W").restrict(tmp_path / "x")
    assert "Access is denied" in caplog.text
