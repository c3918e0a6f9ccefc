"""Result of the merge driver for three versions of a file."""

import pytest
from targcc_gen.sync import Lock, LockEntry, Owner
from targcc_gen.sync.merge_driver import Versions, merge_versions

JOB = b'''"""Daily."""

from app.scheduler import JobContext, job


@job("0 2 * * *", retries=3)
class DailyJob:
    """Daily."""

    async def execute(self, ctx: JobContext) -> None:
        total = 1
        print(total)
'''


def entry(path: str, text: bytes) -> LockEntry:
    return LockEntry.of(path, Owner.MANAGED, text, keep_base=True)


def lock(generator: str, **files: bytes) -> bytes:
    return (
        Lock({name: entry(name, text) for name, text in files.items()}, generator).dump().encode()
    )


def test_a_lock_is_merged_file_by_file():
    base = lock("0.1.0", a=b"1", b=b"1", c=b"1")
    our_lock = lock("0.2.0", a=b"2", b=b"1", c=b"1", d=b"new")
    their_lock = lock("0.1.0", a=b"1", c=b"3", e=b"new")

    text, is_clean = merge_versions(".targcc/lock.jsonl", Versions(base, our_lock, their_lock))

    merged = Lock.parse(text.decode())
    assert is_clean
    assert merged.generator == "0.2.0"
    assert {path: lock_entry.base for path, lock_entry in merged.entries.items()} == {
        "a": b"2", "c": b"3", "d": b"new", "e": b"new"
    }  # fmt: skip


def test_a_job_is_merged_by_argument_and_by_line():
    our_module = JOB.replace(b"retries=3", b"retries=5").replace(b"total = 1", b"total = 2")
    their_module = JOB.replace(b"retries=3", b'retries=3, timeout="5m"').replace(
        b"print(", b"ctx.log("
    )

    text, is_clean = merge_versions(
        "src/app/jobs/daily.py", Versions(JOB, our_module, their_module)
    )

    assert b'@job("0 2 * * *", retries=5, timeout="5m")' in text
    # Both sides changed the body: a person decides.
    assert not is_clean
    assert text.count(b"<<<<<<< ours\n") == text.count(b">>>>>>> theirs\n") == 1


@pytest.mark.parametrize(
    ("path", "theirs"),
    [
        ("targcc.yaml", b"jobs: [\n"),
        (".targcc/lock.jsonl", b"no lock\n"),
        ("src/app/jobs/daily.py", b"def (\n"),
        ("src/app/jobs/daily.py", b"\xff\xfe\n"),
    ],
)
def test_what_cannot_be_read_is_merged_line_by_line_with_markers(path, theirs):
    text, is_clean = merge_versions(path, Versions(b"base\n", b"ours\n", theirs))

    assert not is_clean
    assert text == b"<<<<<<< ours\nours\n=======\n" + theirs + b">>>>>>> theirs\n"


def test_line_ends_stay():
    base = b"targcc: 1\r\nproject: {name: app}\r\njobs:\r\n  A: {type: manual}\r\n"
    our_spec, their_spec = base + b"  B: {type: manual}\r\n", base + b"  C: {type: manual}\r\n"

    text, is_clean = merge_versions("targcc.yaml", Versions(base, our_spec, their_spec))

    assert is_clean
    assert text == our_spec + b"  C: {type: manual}\r\n"
