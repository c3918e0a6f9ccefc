"""The lock and merged text by tables: versions, damaged lines, locks of two branches, line ends and conflict markers."""

import contextlib
import json
from dataclasses import replace

import pytest
from targcc_gen import __version__
from targcc_gen.errors import DamagedError, NewerProjectError
from targcc_gen.render.tree import LOCK_PATH, Owner
from targcc_gen.sync.branches import Stages, _plain
from targcc_gen.sync.lock import Lock, LockEntry, is_older, json_object
from targcc_gen.sync.merge import (
    Collision,
    Side,
    Style,
    count_new_lines,
    has_markers,
    lines_of,
    merge,
    plain,
    whole_file,
)
from targcc_gen.sync.merge_driver import Versions, _by_kind, merge_locks, merge_versions

HEADER = json.dumps({"targcc_lock": 1, "generator": "0.1.0"})


def _entry(path="a.py", text=b"a\n", owner=Owner.MANAGED, **options):
    return LockEntry.of(path, owner, text, keep_base=True, **options)


def _line(**data):
    return json.dumps({"path": "a.py", "owner": "managed", "sha256": "0", **data})


@pytest.mark.parametrize(
    ("version", "other", "older"),
    [
        ("0.1", "0.2", True),
        ("0.2", "0.10", True),
        ("0.2", "0.2", False),
        ("0.2", "0.1", False),
        ("0.2", "0.2.0", True),
        ("0.2.0rc1", "0.2", False),
        ("", "0.2", False),
        ("x", "0.2", True),
        ("1" * 9, "0", False),
        ("1" * 10, "0", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version, other, older):
    assert is_older(version, other) is older


@pytest.mark.parametrize(("one", "other", "newest"), [("0.9", "0.10", "0.10"), ("1", "0.9", "1")])
def test_the_newest_version_wins(one, other, newest):
    assert Lock.newest(one, other) == newest


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "its first line is missing"),
        ([HEADER, "no json"], r"jsonl:2: .*this line is not JSON$"),
        ([HEADER, "[1]"], "this line is not a JSON object"),
        (['{"targcc_lock": 1}'], "which generator wrote it"),
        (['{"targcc_lock": 1, "generator": ""}'], "which generator wrote it"),
        ([HEADER, _line(path=1)], "a file needs path, owner and sha256"),
        ([HEADER, _line(sha256=None)], "a file needs path, owner and sha256"),
        ([HEADER, _line(path="../a")], "'../a'"),
        ([HEADER, _line(owner="dana")], "there is no owner 'dana'"),
        ([HEADER, _line(ejected=1)], "ejected is true or false"),
        ([HEADER, _line(base=1)], "a base is text"),
        ([HEADER, _line(added=["not a name!"])], "added is a list of requirements"),
        ([HEADER, '{"template": "t"}'], "a template needs its name"),
        ([HEADER, '{"template": 1, "sha256": "0"}'], "a template needs its name"),
    ],
)
def test_a_damaged_line_is_named(lines, problem):
    with pytest.raises(DamagedError, match=problem):
        Lock.parse("\n".join(lines))


@pytest.mark.parametrize(
    ("lock_format", "generator", "newer"),
    [(1, "0.0.1", False), (1, __version__, False), (2, "0.0.1", True), (1, "999.0", True)],
)
def test_the_lock_of_a_newer_generator_is_left_alone(lock_format, generator, newer):
    text = json.dumps({"targcc_lock": lock_format, "generator": generator})
    if newer:
        with pytest.raises(NewerProjectError, match=f"needs targcc-gen {generator} or newer"):
            Lock.parse(text)
    else:
        assert Lock.parse(text).generator == generator


def test_a_line_that_is_no_object_says_so():
    assert json_object('{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match=r"this line is not JSON$"):
        json_object("x")
    with pytest.raises(ValueError, match="not a JSON object"):
        json_object("1")


def test_a_lock_is_written_and_read_again():
    entries = {path: _entry(path) for path in ("b.py", "a.py")}
    lock = Lock(
        entries, "0.1.0", {"team": "12"}, removed={"c.py": _entry("c.py"), "a.py": _entry()}
    )
    text = lock.dump()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line.get("path") for line in lines] == [None, None, "a.py", "b.py", "c.py"]
    assert [line.get("removed") for line in lines] == [None] * 4 + [True]
    again = Lock.parse(text)
    assert (again.entries, again.generator, again.templates) == (entries, "0.1.0", {"team": "12"})
    assert [*again.removed] == ["c.py"]
    assert Lock().dump() == json.dumps({"targcc_lock": 1, "generator": __version__}) + "\n"


def test_a_path_with_two_lines_keeps_both():
    text = "\n".join(
        [HEADER, *(_line(sha256=str(number)) for number in range(7)), _line(sha256="6")]
    )
    entry = Lock.parse(text).entries["a.py"]
    assert entry.sha256 == "6"
    text = "\n".join([HEADER, *(_line(sha256=str(number)) for number in range(7))])
    entry = Lock.parse(text).entries["a.py"]
    assert [other.sha256 for other in entry.others] == ["2", "3", "4", "5"]
    assert all(other.others == () for other in entry.others)
    assert Lock.parse(f"{HEADER}\n{_line()}\n{_line()}").entries["a.py"].others == ()


def test_a_lock_in_conflict_has_the_lines_of_both_sides():
    lines = [HEADER, "<<<<<<< ours", _line(path="a.py"), "||||||| base", _line(path="b.py")]
    lines += ["=======", _line(path="c.py"), ">>>>>>> theirs", "", _line(path="d.py")]
    assert [*Lock.parse("\n".join(lines)).entries] == ["a.py", "c.py", "d.py"]


@pytest.mark.parametrize(
    ("packed", "sha256", "problem"),
    [
        ("!!!", "0", "its base cannot be unpacked"),
        (_entry().packed, "0", "its base does not match its checksum"),
    ],
)
def test_a_damaged_base_is_named(packed, sha256, problem):
    entry = LockEntry("a.py", Owner.MANAGED, sha256, packed)
    with pytest.raises(DamagedError, match=rf"jsonl: a\.py: .*{problem}"):
        _ = entry.base
    assert _entry().base == b"a\n"
    assert LockEntry("a.py", Owner.MANAGED, "0").base is None


A, B, C = _entry(text=b"a\n"), _entry(text=b"b\n"), _entry(text=b"c\n")


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "chosen", "others"),
    [
        (A, A, A, A, ()),
        (A, B, A, B, ()),
        (A, A, B, B, ()),
        (A, B, B, B, ()),
        (A, B, C, C, (B,)),
        (None, B, None, B, ()),
        (None, None, C, C, ()),
        (None, B, C, C, (B,)),
        (A, None, A, None, ()),
        (A, A, None, None, ()),
        (A, B, None, B, ()),
        (A, None, C, C, ()),
    ],
)
def test_the_locks_of_two_branches_are_merged(base, ours, theirs, chosen, others):
    locks = [
        Lock({} if entry is None else {"a.py": entry}, "0.1") for entry in (base, ours, theirs)
    ]
    entry = merge_locks(*locks).entries.get("a.py")
    assert entry == chosen
    assert chosen is None or entry.others == others


def test_a_merged_lock_is_of_the_newest_generator_and_keeps_tombstones():
    ours = Lock({"a.py": A}, "0.9", {"t": "1"}, removed={"b.py": A})
    theirs = Lock({}, "0.10", {"t": "2", "u": "3"}, removed={"a.py": A, "c.py": A})
    merged = merge_locks(Lock(), ours, theirs)
    assert (merged.generator, merged.templates) == ("0.10", {"t": "2", "u": "3"})
    assert sorted(merged.removed) == ["b.py", "c.py"]


@pytest.mark.parametrize(
    ("name", "theirs", "text", "clean"),
    [
        ("a.txt", b"1\n2\n9\n", b"0\n2\n9\n", True),
        ("a.txt", b"9\n2\n3\n", b"<<<<<<< ours\n0\n=======\n9\n>>>>>>> theirs\n2\n3\n", False),
        ("a.py", b"1\n2\n9\n", b"0\n2\n9\n", True),
    ],
)
def test_a_file_of_two_branches_is_merged_line_by_line(name, theirs, text, clean):
    versions = Versions(b"1\n2\n3\n", b"0\n2\n3\n", theirs)
    assert _by_kind(name, versions) == (text, clean)


def test_the_lock_is_merged_entry_by_entry():
    locks = [Lock({"a.py": entry}, "0.1.0").dump().encode() for entry in (A, B, A)]
    text, clean = _by_kind(LOCK_PATH, Versions(*locks))
    assert clean
    assert Lock.parse(text.decode()).entries == {"a.py": B}


# Merged text.


@pytest.mark.parametrize(
    ("content", "crlf", "bom"),
    [
        (b"a\nb\n", False, False),
        (b"a\r\nb\r\n", True, False),
        (b"a\r\nb\n", False, False),
        (b"a\r\nb\r\nc\n", True, False),
        (b"\xef\xbb\xbfa\n", False, True),
        (b"\xef\xbb\xbfa\r\n\0", False, False),
    ],
)
def test_the_style_of_a_text(content, crlf, bom):
    style = Style.of(content)
    assert (style.crlf, style.bom) == (crlf, bom)
    if crlf or bom:
        restored = style.restore(b"x\n")
        assert restored == (b"\xef\xbb\xbf" if bom else b"") + (b"x\r\n" if crlf else b"x\n")


def test_plain_text_has_no_mark_and_single_line_ends():
    assert plain(b"\xef\xbb\xbfa\r\nb\n") == b"a\nb\n"
    assert plain(b"a\r\n\0") == b"a\r\n\0"


@pytest.mark.parametrize(
    ("content", "lines"),
    [(b"", []), (b"a", [b"a\n"]), (b"a\n", [b"a\n"]), (b"a\n\nb", [b"a\n", b"\n", b"b\n"])],
)
def test_each_line_has_an_end(content, lines):
    assert lines_of(content) == lines


@pytest.mark.parametrize(
    ("side", "text", "collisions"),
    [
        (None, b"1\nmine\n3\n4\n", 1),
        (Side.MINE, b"1\nmine\n3\n4\n", 0),
        (Side.GENERATED, b"1\nnew\n3\n4\n", 0),
        (Side.MARKERS, b"1\n<<<<<<< mine\nmine\n=======\nnew\n>>>>>>> generated\n3\n4\n", 1),
    ],
)
def test_a_collision_is_settled_by_a_side(side, text, collisions):
    merged = merge(b"1\n2\n3\n", b"1\nmine\n3\n", b"1\nnew\n3\n4\n", side)
    assert (merged.text, len(merged.collisions)) == (text, collisions)
    if collisions:
        assert merged.collisions == (Collision(2, 2, "mine\n", "new\n"),)


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [(b"a\n", b"a\n", 0), (b"a\n", b"a\nb\nc\n", 2), (b"a\nb\n", b"a\n", 0), (b"", b"a", 1)],
)
def test_new_lines_are_counted(before, after, count):
    assert count_new_lines(before, after) == count


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        (b"a\n<<<<<<< mine\n", True),
        (b"<<<<<<< yours\n", True),
        (b"<<<<<<< ours\n", False),
        (b" <<<<<<< mine\n", False),
        (b"a\n", False),
    ],
)
def test_conflict_markers_of_the_generator_are_recognised(text, marked):
    assert has_markers(text) is marked


def test_two_texts_without_a_base_collide_as_a_whole():
    assert whole_file(b"a\nb", b"c\n") == Collision(1, 2, "a\nb\n", "c\n")


def test_versions_that_are_missing_were_not_merged_by_git():
    assert Stages("a", "b", None).made("a") is False


def test_labels_and_line_ends_of_a_conflict_do_not_count():
    assert _plain("<<<<<<< HEAD\r\na\r\n>>>>>>> branch\r\n") == "<<<<<<<\na\n>>>>>>>\n"


def test_a_lock_that_cannot_be_read_is_damaged(tmp_path, monkeypatch):
    assert Lock.load(tmp_path) == Lock()
    place = tmp_path / LOCK_PATH
    place.parent.mkdir()
    place.write_text(f"{HEADER}\n")
    assert Lock.load(tmp_path).generator == "0.1.0"
    size = place.stat().st_size
    for largest, is_damaged in ((size, False), (size - 1, True)):
        monkeypatch.setattr("targcc_gen.sync.lock._MAX_LOCK", largest)
        with (
            contextlib.nullcontext()
            if not is_damaged
            else pytest.raises(
                DamagedError, match=r"lock\.jsonl:1: the lock is damaged: it is larger"
            )
        ):
            Lock.load(tmp_path)
    place.write_bytes(b"\xff")
    with pytest.raises(DamagedError, match=r"jsonl:1: the lock is damaged: it cannot be read"):
        Lock.load(tmp_path)
    place.unlink()
    place.mkdir()
    with pytest.raises(DamagedError, match=r"jsonl:1: the lock is damaged: it is a folder"):
        Lock.load(tmp_path)


def test_the_bases_of_a_lock_hold_no_more_text_than_any_project_has(monkeypatch):
    entry = _entry(text=b"x" * 100)
    monkeypatch.setattr("targcc_gen.sync.lock._MAX_UNPACKED", 199)
    unpacked = entry.unpacked
    assert entry.base == b"x" * 100
    twin = replace(_entry(text=b"x" * 100), unpacked=unpacked)
    with pytest.raises(DamagedError, match=r"jsonl: a\.py: the lock is damaged: its bases hold"):
        assert twin.base


@pytest.mark.parametrize("binary", ["base", "ours", "theirs"])
def test_binary_versions_are_not_merged(binary):
    versions = {"base": b"a\n", "ours": b"a\n", "theirs": b"b\n", binary: b"\0"}
    assert merge_versions("a.bin", Versions(**versions)) == (versions["ours"], False)


def test_modules_whose_decorators_collide_are_merged_by_line():
    texts = [f'@job("{minute} * * * *")\ndef a(): ...\n'.encode() for minute in (1, 2, 3)]
    text, is_clean = merge_versions("a.py", Versions(*texts))
    assert not is_clean
    assert [line for line in text.splitlines() if line[:3] in {b"<<<", b">>>"}] == [
        b"<<<<<<< ours",
        b">>>>>>> theirs",
    ]
