"""The doctor connects to no database that only the repository names; secret files must be readable by their owner alone."""

import os
import stat
import struct

import pytest
from targcc_scheduler import Settings, migrate
from targcc_scheduler.features.doctor import code
from targcc_scheduler.features.doctor.checkup import checkup

STRANGER = "postgresql://jobs:pa55-word@192.0.2.1/jobs"


def commit(folder, *names):
    """Write a git index that contains these files."""
    (folder / ".git").mkdir()
    entries = b"".join(
        bytes(60) + struct.pack(">H", len(name)) + name.encode() + b"\0" * 8 for name in names
    )
    (folder / ".git" / "index").write_bytes(b"DIRC" + struct.pack(">II", 2, len(names)) + entries)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TARGCC_DATABASE_URL", raising=False)
    return tmp_path


def test_a_committed_env_file_does_not_choose_the_server(repository):
    (repository / ".env").write_text(f"TARGCC_DATABASE_URL={STRANGER}\n", encoding="utf-8")
    assert code.named_by_file_only(Settings()) is None  # the file is not in the index
    commit(repository, "README.md", ".env")
    finding = code.named_by_file_only(Settings())
    assert finding is not None
    assert "192.0.2.1" in finding.what
    assert "pa55-word" not in finding.what + finding.advice
    assert "--connect" in finding.advice
    assert any(candidate.level == "fail" for candidate in code.env_file())


def test_a_file_that_only_ends_alike_is_not_the_committed_one(repository):
    (repository / ".env").touch()
    commit(repository, "other.env", "sub/.env")
    assert not code.is_committed(repository / ".env")
    (repository / "sub").mkdir()
    assert code.is_committed(repository / "sub" / ".env")


async def test_the_doctor_leaves_it_alone_until_asked(repository, monkeypatch):
    (repository / ".env").write_text(f"TARGCC_DATABASE_URL={STRANGER}\n", encoding="utf-8")
    commit(repository, ".env")
    calls = []

    class Asked:
        def __init__(self, *_):
            calls.append(True)

        async def findings(self, _jobs):
            return []

    monkeypatch.setattr("targcc_scheduler.features.doctor.checkup._Database", Asked)
    await checkup(Settings(), seconds=1)
    assert calls == []
    await checkup(Settings(), seconds=1, connect=True)
    monkeypatch.setenv("TARGCC_DATABASE_URL", STRANGER)
    await checkup(Settings(), seconds=1)
    assert len(calls) == 2


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_a_database_is_its_owners_alone_from_its_first_moment(tmp_path, monkeypatch):
    seen, file = [], tmp_path / "jobs.db"
    real = os.open

    def watched(path, *rest, **more):
        descriptor = real(path, *rest, **more)
        if str(path) == str(file):
            seen.append(stat.S_IMODE(file.stat().st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    before = os.umask(0)
    try:
        migrate(f"sqlite:///{file}")
    finally:
        os.umask(before)
    assert seen == [0o600]
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_the_doctor_sees_files_that_others_may_read(repository):
    (repository / ".env").write_text("A=b\n", encoding="utf-8")
    (repository / ".env").chmod(0o644)
    (finding,) = code.env_file()
    assert (finding.level, "chmod 600" in finding.advice) == ("warn", True)
    (repository / ".env").chmod(0o600)
    assert list(code.env_file()) == []


@pytest.mark.parametrize(
    ("installed", "is_named"),
    [("0.2.0+h1", False), ("0.2.0", False), ("0.2.0+h2", True), ("0.1.0", True)],
)
def test_another_build_than_the_project_carries_is_named(
    repository, monkeypatch, installed, is_named
):
    (repository / "vendor").mkdir()
    (repository / "vendor" / "targcc_scheduler-0.2.0+h1-py3-none-any.whl").touch()
    monkeypatch.setattr(code, "version", lambda _: installed)
    findings = [*code.carried_build()]
    assert bool(findings) is is_named
    assert all(installed in finding.what and "0.2.0+h1" in finding.what for finding in findings)


def test_an_alembic_that_would_drop_the_tables_is_named(repository):
    env = repository / "migrations" / "env.py"
    env.parent.mkdir()
    env.write_text("from alembic import context\ncontext.configure()\n", encoding="utf-8")
    [finding] = code.application_alembic()
    assert finding.what.startswith(
        "migrations/env.py leaves the scheduler's tables to autogenerate"
    )

    env.write_text(
        "from targcc_scheduler import is_not_ours\n# alembic context\n", encoding="utf-8"
    )
    assert not [*code.application_alembic()]
