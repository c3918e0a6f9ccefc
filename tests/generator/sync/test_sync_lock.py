"""The lock: written by the generator, merged by git, and damaged by hand."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest
from targcc_gen import __version__, assets
from targcc_gen.errors import InputError
from targcc_gen.sync import Lock, LockEntry, Owner, Tree, TreeFile, apply, make_plan
from targcc_gen.sync.lock import is_older
from targcc_gen.sync.merge import plain
from targcc_gen.sync.pyproject import name_of

TEXT = "héllo\n" * 100


def lock_of(*paths: str) -> Lock:
    entries = [
        LockEntry.of(path, Owner.MANAGED, (path + TEXT).encode(), keep_base=True) for path in paths
    ]
    return Lock({entry.path: entry for entry in entries})


def test_what_was_written_is_read_back():
    lock = lock_of("b.py", "a.py")
    required = LockEntry("x.txt", Owner.PATCHED, "0", added=("click>=8.2", "rich[x]"))
    lock = Lock({**lock.entries, "x.txt": required})
    assert Lock.parse(lock.dump()) == Lock(lock.entries, __version__)


def test_the_text_is_the_same_whatever_the_order():
    assert lock_of("a.py", "b.py").dump() == lock_of("b.py", "a.py").dump()


def test_the_text_is_the_same_on_every_machine():
    line = LockEntry.of("a.py", Owner.MANAGED, b"a = 1\n", keep_base=True).to_line()
    expected = "LRx4sF+o`-Q(4#a+5`Xq0@(ln5I_JR0w4e&03m}xnhSv(UC9*TLPKBEXb="
    assert json.loads(line)["base"] == expected


def test_searches_find_nothing_in_it():
    assert "héllo" not in lock_of("a.py").dump()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "a file needs path"),
        ('{"path": "/etc/passwd", "owner": "managed", "sha256": "x"}', "'/etc/passwd' is not a relative path"),
        ('{"path": "../up.py", "owner": "managed", "sha256": "x"}', "leaves the project"),
        ('{"path": "a/../../up.py", "owner": "managed", "sha256": "x"}', "leaves the project"),
        ('{"path": "C:\\\\up.py", "owner": "managed", "sha256": "x"}', "not a relative path"),
        ('{"path": ".git/hooks/pre-commit", "owner": "managed", "sha256": "x"}', "not a file of the project"),
        ('{"path": ".targcc/lock.jsonl", "owner": "managed", "sha256": "x"}', "not a file of the project"),
        ('{"path": "a", "owner": "nobody", "sha256": "x"}', "no owner 'nobody'"),
        ('{"path": "a", "owner": "managed", "sha256": "x", "ejected": 1}', "ejected is true or false"),
        ('{"path": "a", "owner": "patched", "sha256": "x", "added": 1}', "added is a list"),
        ('{"path": "a", "owner": "patched", "sha256": "x", "added": [1]}', "added is a list"),
        ('{"path": "a", "owner": "patched", "sha256": "x", "added": ["> >"]}', "added is a list"),
        ('{"path": "a", "owner": "managed", "sha256": "x", "base": 5}', "a base is text"),
        ("[" * 100_000, "not JSON"),
    ],
)  # fmt: skip
def test_damage_is_named_with_its_line(line, problem):
    with pytest.raises(InputError) as error:
        Lock.parse(Lock().dump() + line + "\n")
    assert error.value.message.startswith(".targcc/lock.jsonl:2: the lock is damaged: ")
    assert problem in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(
    ("base", "problem"),
    [
        ("%%", "cannot be unpacked"),
        ("!" * 50, "cannot be unpacked"),
        (lock_of("b.py").entries["b.py"].packed, "does not match its checksum"),
    ],
)
def test_a_base_that_is_not_what_was_written_is_damage(base, problem):
    data = json.loads(lock_of("a.py").entries["a.py"].to_line()) | {"base": base}
    lock = Lock.parse(Lock().dump() + json.dumps(data))
    with pytest.raises(InputError, match=problem) as error:
        _ = lock.entries["a.py"].base
    assert "a.py" in error.value.message


def test_a_lock_without_its_first_line_is_damage():
    with pytest.raises(InputError, match="first line is missing"):
        Lock.parse("")


def test_a_newer_generators_project_is_left_alone():
    text = Lock().dump().replace(__version__, "99.0.0")
    with pytest.raises(InputError, match=r"this project needs targcc-gen 99\.0\.0 or newer"):
        Lock.parse(text)


def test_an_unreadable_lock_is_an_error(tmp_path):
    (tmp_path / ".targcc").mkdir()
    (tmp_path / ".targcc/lock.jsonl").write_bytes(b"\xff\xfe\0")
    with pytest.raises(InputError, match="cannot be read"):
        Lock.load(tmp_path)


@pytest.mark.usefixtures("processes")
def test_two_branches_that_each_add_a_job_merge_by_themselves(tmp_path):
    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    def add(*names: str) -> None:
        files = [TreeFile(f"jobs/{name}.py", b"x = 1\n", Owner.MANAGED) for name in names]
        apply(make_plan(Tree.of(files, complete=False), tmp_path))
        git("add", ".")
        git("commit", "-m", "jobs")

    git("init", "--initial-branch=main")
    (tmp_path / ".targcc").mkdir()
    attributes = assets.project_template() / ".targcc/.gitattributes"
    shutil.copy(attributes, tmp_path / ".targcc/.gitattributes")
    add("a", "z")
    git("checkout", "-b", "other")
    add("m")
    git("checkout", "main")
    add("n")
    git("merge", "other")
    assert sorted(Lock.load(tmp_path).entries) == [f"jobs/{name}.py" for name in "amnz"]
    files = [TreeFile(f"jobs/{name}.py", b"x = 1\n", Owner.MANAGED) for name in "amnz"]
    assert not any(change.writes for change in make_plan(Tree.of(files), tmp_path).changes)


def test_both_sides_of_gits_conflict_are_read_and_the_older_one_is_not():
    our_entry = LockEntry.of("a.py", Owner.MANAGED, b"ours\n", keep_base=True)
    their_entry = LockEntry.of("a.py", Owner.MANAGED, b"theirs\n", keep_base=True)
    base_entry = LockEntry.of("b.py", Owner.MANAGED, b"base\n", keep_base=True)
    our_line, base_line, their_line = (
        entry.to_line() for entry in (our_entry, base_entry, their_entry)
    )
    text = f"{Lock().dump()}<<<<<<< HEAD\n{our_line}\n||||||| base\n{base_line}\n=======\n{their_line}\n>>>>>>> topic\n"

    lock = Lock.parse(text)

    assert list(lock.entries) == ["a.py"]
    assert lock.entries["a.py"].base == b"theirs\n"
    assert [entry.base for entry in lock.entries["a.py"].others] == [b"ours\n"]
    assert Lock.parse(lock.dump()).entries["a.py"].others[0].base == b"ours\n"


@pytest.mark.parametrize(
    ("version", "other", "older"),
    [
        ("0.1.0", "0.2.0", True),
        ("0.2.0", "0.2.0", False),
        ("0.3.0", "0.2.0", False),
        ("0.9.1", "0.10.0", True),
        ("0.2", "0.2.0", True),
        ("0.2.0.dev1", "0.2.0", False),
        ("", "0.2.0", False),  # of a new project
    ],
)
def test_versions_are_compared_by_their_numbers(version, other, older):
    assert is_older(version, other) is older


def test_ejected_and_removed_files_are_read_back():
    entries = lock_of("a.py", "gone.py").entries
    ejected = replace(entries["a.py"], ejected=True)
    lock = Lock({"a.py": ejected}, "0.1.0", removed={"gone.py": entries["gone.py"]})
    read = Lock.parse(lock.dump())
    assert (read.entries, read.removed) == ({"a.py": ejected}, {"gone.py": entries["gone.py"]})
    assert read.generator == "0.1.0"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"\xef\xbb\xbfa\n", b"a\n"),
        (b"a\n", b"a\n"),
        (b"\x00\x01\r\n", b"\x00\x01\r\n"),  # binary
    ],
)
def test_texts_are_compared_without_mark_and_line_ends(content, text):
    assert plain(content) == text


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        ("Rich>=14", "rich"),
        ("my_app[x]", "my-app"),
        ("> >", "> >"),
        (7, "7"),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_a_requirement_is_known_by_its_name(requirement, name):
    assert name_of(requirement) == name
