"""Journals, claims, the disk and merged modules by tables, without a project."""

import json
import os

import pytest
from targcc_gen.errors import (
    BusyError,
    ConflictError,
    ForeignJournalError,
    ObstacleError,
    RollbackError,
)
from targcc_gen.render.tree import PENDING_PATH
from targcc_gen.sync import journal as journals
from targcc_gen.sync import merge_python
from targcc_gen.sync.disk import LARGEST, Disk, Files, remove_empty, remove_left
from targcc_gen.sync.journal import (
    Journal,
    Pending,
    RunClaim,
    Step,
    UnfinishedError,
    check_finished,
    digest_of,
    recover,
)
from targcc_gen.sync.merge import Collision, Side, merge
from targcc_gen.sync.merge_python import as_written, is_same_module
from targcc_gen.sync.pyproject import merge_pyproject

OLD, NEW, NEWER = digest_of(b"old"), digest_of(b"new"), digest_of(b"newer")


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(journals, "_state_folder", lambda: tmp_path / "state")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


# Journals.


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{", "Expecting"),
        (b"[]", "it is not as it was written"),
        (b"{}", "it is not as it was written"),
        (b'{"steps": [{"path": "a"}], "folders": []}', "it is not as it was written"),
        (b'{"steps": [], "folders": ["../x"]}', "'../x'"),
        (
            b'{"steps": [{"path": "/x", "number": 0, "before": null, "after": null}], "folders": []}',
            "'/x'",
        ),
    ],
)
def test_a_damaged_journal_is_not_followed(text, problem):
    with pytest.raises(ValueError, match=problem):
        Journal.load(text)


def test_a_journal_is_read_as_it_was_written():
    steps = (Step("a/b.py", 0, OLD, NEW), Step(".targcc/lock.jsonl", 1, None, NEW))
    written = Journal(steps, ("a", "."))
    assert Journal.load(written.dump()) == written


@pytest.mark.parametrize(
    ("before", "after", "content", "result"),
    [
        (OLD, NEW, b"new", "left"),
        (OLD, NEW, b"old", ""),
        (OLD, NEW, b"newer", "newer"),
        (OLD, NEW, None, "newer"),
        (None, NEW, b"new", "left"),
        (None, NEW, None, ""),
        (OLD, None, None, "left"),
        (OLD, None, b"old", ""),
        (OLD, OLD, b"old", ""),
        (None, None, None, ""),
        (None, None, "folder", "newer"),  # nothing can be read there
        (OLD, None, "folder", "newer"),
    ],
)
def test_files_are_compared_with_the_journal(root, before, after, content, result):
    if content == "folder":
        (root / "a.txt").mkdir()
    elif content is not None:
        (root / "a.txt").write_bytes(content)
    step = Step("a.txt", 7, before, after)
    left, newer = Pending(root).compare(Journal((step,), ()))
    assert (left, newer) == ([step] * (result == "left"), ["a.txt"] * (result == "newer"))


def test_versions_of_a_hundred_files_share_a_folder(root):
    pending = Pending(root)
    places = [pending.new(Step("x", number, None, None)) for number in (0, 99, 100)]
    assert [place.relative_to(pending.folder).as_posix() for place in places] == [
        "0/0.new",
        "0/99.new",
        "1/100.new",
    ]
    assert pending.old(Step("x", 7, None, None)).name == "7.old"


def _killed(root, *steps, folders=(), signed=True):
    """Leave the folder of a killed run with old versions of the files."""
    pending, claim = Pending(root), RunClaim(root)
    written = Journal(tuple(steps), folders)
    for step in steps:
        pending.shelf(step).mkdir(parents=True, exist_ok=True)
        pending.old(step).write_bytes(b"old")
    pending.folder.mkdir(parents=True, exist_ok=True)
    pending.journal.write_bytes(written.dump())
    claim.begin()
    if signed:
        claim.sign(written.dump())
    return pending, claim


def test_a_killed_run_is_undone(root):
    for name, content in (("a.txt", b"new"), ("b/made.txt", b"new"), ("c.txt", b"newer")):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    steps = [Step("a.txt", 0, OLD, NEW), Step("b/made.txt", 1, None, NEW)]
    steps += [Step("c.txt", 2, OLD, NEW), Step("d/gone.txt", 3, OLD, None)]
    pending, claim = _killed(root, *steps, folders=("b",))
    with pytest.raises(UnfinishedError) as error:
        check_finished(root)
    assert [line.strip() for line in str(error.value).splitlines()[1:]] == [
        "to be put back  d/gone.txt",
        "to be put back  b/made.txt",
        "to be put back  a.txt",
        "stays as it is  c.txt: written since",
    ]
    assert recover(root) == ["c.txt"]
    files = {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert files == {"a.txt": b"old", "c.txt": b"newer", "gone.txt": b"old"}
    assert not (root / "b").exists()
    assert not pending.folder.parent.exists()
    assert not claim.knows()
    check_finished(root)
    assert recover(root) == []


def test_ten_files_are_named_and_the_rest_is_counted(root):
    (root / "x").write_bytes(b"new")
    for count, more in ((10, False), (11, True)):
        steps = [Step("x", number, OLD, NEW) for number in range(count)]
        text = journals._unfinished_work(Pending(root), Journal(tuple(steps), ()))
        assert text.count("to be put back") == 10
        assert ("… and 1 more" in text) is more


def test_a_copy_that_was_exchanged_is_not_put_back(root):
    (root / "a.txt").write_bytes(b"new")
    pending, _ = _killed(root, Step("a.txt", 0, OLD, NEW))
    pending.old(Step("a.txt", 0, OLD, NEW)).write_bytes(b"other")
    with pytest.raises(RollbackError, match=r"the copy of a\.txt .* is not what it was"):
        recover(root)
    assert (root / "a.txt").read_bytes() == b"new"
    assert pending.journal.exists()


@pytest.mark.parametrize("kind", ["foreign", "unsigned", "other", "link", "large", "guard"])
def test_a_journal_of_somebody_else_is_refused(root, monkeypatch, kind):
    pending, claim = _killed(root, Step("a.txt", 0, OLD, NEW), signed=kind != "unsigned")
    if kind == "foreign":
        claim.end()
    elif kind == "other":
        pending.journal.write_bytes(pending.journal.read_bytes() + b" ")
    elif kind == "link":
        pending.journal.rename(root / "elsewhere")
        pending.journal.symlink_to(root / "elsewhere")
    elif kind == "large":
        monkeypatch.setattr(journals, "_LARGEST_JOURNAL", 10)
    elif kind == "guard":
        pending.guard.mkdir()
    with pytest.raises(ForeignJournalError, match="it is not followed"):
        recover(root)


def test_a_journal_of_the_largest_size_is_read(root, monkeypatch):
    pending, _ = _killed(root)
    monkeypatch.setattr(journals, "_LARGEST_JOURNAL", pending.journal.stat().st_size)
    assert recover(root) == []


def test_a_damaged_journal_of_ones_own_says_where_the_old_versions_are(root):
    pending, claim = _killed(root)
    pending.journal.write_bytes(b"{}")
    claim.sign(b"{}")
    with pytest.raises(RollbackError, match=r"journal\.json is damaged"):
        recover(root)


@pytest.mark.parametrize("claimed", [False, True])
def test_a_run_that_was_killed_before_its_journal_left_nothing_to_undo(root, claimed):
    pending = Pending(root)
    pending.folder.mkdir(parents=True)
    if claimed:
        RunClaim(root).begin()
    with pytest.raises(UnfinishedError, match="nothing of the project was touched yet"):
        check_finished(root)
    assert recover(root) == []
    assert not pending.folder.exists()


@pytest.mark.parametrize("name", [".targcc", PENDING_PATH])
def test_a_staging_folder_that_is_none_is_in_the_way(root, name):
    place = root / name
    place.parent.mkdir(exist_ok=True)
    place.write_text("x")
    with pytest.raises(ObstacleError, match=rf"{name} is no folder"):
        recover(root)
    place.unlink()
    place.symlink_to(root)
    with pytest.raises(ObstacleError, match=rf"{name} is no folder"):
        check_finished(root)


def test_one_run_at_a_time_writes(tmp_path):
    (tmp_path / "guard").touch()
    with (tmp_path / "guard").open("rb") as first, (tmp_path / "guard").open("rb") as second:
        with journals.guarded(first), pytest.raises(BusyError), journals.guarded(second):
            pass
        assert isinstance(journals.busy(), ConflictError)


def test_a_claim_knows_its_own_journal_and_ends(root, tmp_path):
    claim, other = RunClaim(root), RunClaim(tmp_path)
    assert (claim.knows(), claim.signed(b"x")) == (False, False)
    claim.begin()
    assert (claim.knows(), claim.signed(b"x"), other.knows()) == (True, False, False)
    claim.sign(b"x")
    assert (claim.signed(b"x"), claim.signed(b"y"), other.signed(b"x")) == (True, False, False)
    claim.end()
    assert not claim.knows()


def test_a_claim_in_a_folder_that_others_can_write_does_not_count(root, tmp_path, monkeypatch):
    own, spare = tmp_path / "own" / "runs", tmp_path / "spare" / "runs"
    monkeypatch.setattr(journals, "_places", lambda: (own, spare))
    claim = RunClaim(root)
    claim.begin()
    assert [folder.exists() for folder in (own, spare)] == [True, False]
    for mode, counts in ((0o700, True), (0o720, False), (0o702, False), (0o755, True)):
        own.chmod(mode)
        assert claim.knows() is counts, oct(mode)
    own.chmod(0o722)
    claim.begin()
    assert spare.exists()
    assert claim.knows()
    monkeypatch.setattr(journals, "_places", lambda: (own,))
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        claim.begin()


# The disk.


@pytest.mark.parametrize(
    ("path", "raw", "blocked"),
    [
        ("file.txt", b"x", None),
        ("gone.txt", None, None),
        ("no/folder/gone.txt", None, None),
        ("file.txt/x", None, "file.txt is a file, not a folder"),
        ("folder", None, "it is a folder"),
        ("link", None, "it is a link"),
        ("away/file.txt", None, "away is a link to another place"),
        ("away/deeper/file.txt", None, "away is a link to another place"),
        ("read-only.txt", b"r", "it is read-only"),
        ("large.bin", None, "it is larger than 64 MB"),
        ("FILE.txt", None, "there is file.txt, which is the same name on some systems"),
        ("Folder/x", None, "there is a folder or file folder, which is the same name"),
    ],
)
def test_a_path_of_the_project(root, path, raw, blocked):
    (root / "file.txt").write_bytes(b"x")
    (root / "folder").mkdir()
    (root / "link").symlink_to("file.txt")
    (root / "away").symlink_to(root / "folder")
    (root / "read-only.txt").write_bytes(b"r")
    (root / "read-only.txt").chmod(0o444)
    with (root / "large.bin").open("wb") as stream:
        stream.truncate(LARGEST + 1)
    disk = Disk(root)
    for _ in range(2):  # folders are looked at once
        state = disk.look(path)
        assert state.raw == raw
        assert (state.blocked is None) if blocked is None else state.blocked.startswith(blocked)


def test_the_mode_of_a_file_is_known(root):
    (root / "run").write_bytes(b"x")
    (root / "run").chmod(0o755)
    assert Disk(root).look("run").mode == 0o755
    assert Disk(root).look("gone").mode is None


def test_files_are_written_with_their_mode(root):
    files = Files()
    files.write(root / "plain", b"1")
    files.write(root / "program", b"2", mode=0o755)
    assert os.access(root / "program", os.X_OK)
    assert not os.access(root / "plain", os.X_OK)
    files.copy(root / "program", root / "copy")
    files.replace(root / "plain", root / "copy")
    assert (root / "copy").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("others", "left"),
    [
        ([], []),
        (["a/b/mine.txt"], ["a", "a/b", "a/b/mine.txt"]),
        (["a/mine.txt"], ["a", "a/mine.txt"]),
        (["a/b/__pycache__/x.cpython-312.pyc"], []),
        (["a/b/__pycache__/x.pyi"], []),
    ],
)
def test_folders_go_with_their_last_file(root, others, left):
    (root / "a" / "b").mkdir(parents=True)
    for name in others:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("")
    remove_left(root, root / "a" / "b" / "x.py")
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*")) == left
    assert root.exists()


@pytest.mark.parametrize(("name", "stays"), [("x.py", False), ("x.txt", True), ("y.py", True)])
def test_compiled_files_go_with_their_module(root, name, stays):
    cache = root / "__pycache__"
    cache.mkdir()
    (cache / "x.cpython-312.pyc").touch()
    (cache / "z.cpython-312.pyc").touch()
    remove_left(root, root / name)
    assert (cache / "x.cpython-312.pyc").exists() is stays
    assert (cache / "z.cpython-312.pyc").exists()


def test_nothing_outside_of_the_folder_is_removed(root, tmp_path):
    (tmp_path / "other").mkdir()
    remove_empty(root, tmp_path / "other")
    remove_empty(root, root)
    assert (tmp_path / "other").exists()
    assert root.exists()


# Merged texts.

LINES = b"1\n2\n3\n4\n5\n"


@pytest.mark.parametrize(
    ("mine", "new", "places"),
    [
        (b"1\nM\n3\n4\n5\n", b"1\nN\n3\n4\n5\n", [Collision(2, 2, "M\n", "N\n")]),
        (b"1\n3\n4\n5\n", b"1\nN\n3\n4\n5\n", [Collision(2, 1, "", "N\n")]),
        (b"M\n2\n3\n4\nM\n", b"N\n2\n3\n4\nN\n", [Collision(1, 1, "M\n", "N\n"), Collision(5, 5, "M\n", "N\n")]),
        (b"1\nM\n3\n4\n5\n", b"1\n2\n3\nN\n5\n", []),
    ],
)  # fmt: skip
def test_collisions_are_named_by_lines_of_the_users_file(mine, new, places):
    assert list(merge(LINES, mine, new).collisions) == places
    for side, text in ((Side.MINE, mine), (Side.GENERATED, new)):
        merged = merge(LINES, mine, new, side)
        assert merged.collisions == ()
        assert not places or merged.text == text


def test_lines_of_the_user_are_counted():
    assert merge(LINES, b"0\n" + LINES + b"6\n", LINES).kept == 2
    assert merge(LINES, LINES, b"0\n" + LINES).kept == 0


@pytest.mark.parametrize(
    ("left", "other", "same"),
    [
        (b"x = 1\n", b"x=1\n", True),
        (b"x = 1\n", b"x = 2\n", False),
        (b"import a, b\n", b"import b\nimport a\n", True),
        (b"from m import a, b\n", b"from m import (\n    b,\n    a,\n)\n", True),
        (b"import a\nx = 1\nimport b\n", b"import b\nx = 1\nimport a\n", False),
        (b"import a\nx = 1\n", b"x = 1\nimport a\n", False),
        (b'"""A  page."""\n', b'"""A\npage."""\n', True),
        (b'x = """A  b"""\n', b'x = """A b"""\n', False),
        (b"x = 1  # why\n", b"x = 1\n", False),
        (b"x = 1\n", b"x = 1  # why\n", False),
        (b"x = 1  # noqa: E501\n", b"x = 1\n", True),
        (b"x = 1\n", b"x = 1  # noqa: E501\n", False),
        (b"x = 1  # why\n", b"# why\nx = 1\n", True),
        (b"x = (\n", b"x = (\n", False),
        (b"x = '\xff'\n", b"x = '\xff'\n", False),
    ],
)
def test_modules_that_differ_in_formatting_alone(left, other, same):
    assert is_same_module(left, other) is same


MODULE = b"""import os


@mark
@other(
    1
)
def first(a,
          b): ...


class Work:
    x = 1

    @mark
    async def second(self): ...
    def third(self): ...
"""


def test_the_parts_of_a_module_are_its_definitions_with_decorators():
    parts = list(merge_python._parts(MODULE))
    assert b"".join(part.text for part in parts) == MODULE
    named = {part.name: part.text for part in parts if part.name}
    assert named == {
        "first": b"@mark\n@other(\n    1\n)\ndef first(a,\n          b): ...\n",
        "Work.second": b"    @mark\n    async def second(self): ...\n",
        "Work.third": b"    def third(self): ...\n",
    }
    assert [part.text for part in merge_python._parts(b"x = (\n")] == [b"x = (\n"]


def test_each_definition_is_written_as_in_the_first_example_that_has_it():
    text = b"def a(x, y): ...\ndef b(x, y): ...\ndef c(x): ...\nz = 1\n"
    first = b"def a(x,\n      y): ...\ndef b(x, z): ...\n"
    second = b"def a( x,y ): ...\ndef b( x,y ): ...\n"
    assert as_written(text, (first, second)) == (
        b"def a(x,\n      y): ...\ndef b( x,y ): ...\ndef c(x): ...\nz = 1\n"
    )


@pytest.mark.parametrize(
    ("base", "existing", "unformatted"),
    [
        (b"a\n" * 9, b"a\n" * 9, True),
        (b"a\n" * 9, b"a\n", True),
        (b"a\n" * 10, b"a\n", False),
        (b"a\n" * 230 + b"b\n" * 9, b"a\n" * 230, True),
        (b"a\n" * 230 + b"b\n" * 10, b"a\n" * 230, False),
        (b"x" * 88 + b"\n", b"", True),
        (b"x" * 89 + b"\n", b"", False),
    ],
)
def test_a_file_that_lost_few_short_lines_was_not_formatted(base, existing, unformatted):
    assert merge_python._is_unformatted(base, existing) is unformatted


@pytest.mark.parametrize(
    ("settings", "lengths", "keeps_lines", "keeps_quotes"),
    [
        ("", [100, 88], True, False),
        ("[tool.black]\nline-length = 79\n", [79, 100, 88], True, False),
        ("[tool.ruff]\nline-length = 120\n", [120, 100, 88], True, False),
        ("[tool.black]\nskip-magic-trailing-comma = true\n", [100, 88], False, False),
        ("[tool.black]\nskip-string-normalization = true\n", [100, 88], True, True),
        ("[tool.black]\nline-length = 'x'\n", [100, 88], True, False),
        ("[tool]\nblack = 1\n", [100, 88], True, False),
        ("[", [100, 88], True, False),
    ],
)
def test_black_formats_as_the_project_says(root, settings, lengths, keeps_lines, keeps_quotes):
    (root / "pyproject.toml").write_text(settings)
    formats = merge_python.Formats(root)._blacks()
    assert [item.name for item in formats] == [f"black -l {length}" for length in lengths]
    for source, stays in ((b"x = [\n    1,\n]\n", keeps_lines), (b"x = 'a'\n", keeps_quotes)):
        assert (formats[0].write("a.py", source) == source) is stays
    assert formats[0].write("a.py", b"x = (\n") is None


SOURCES = '[project]\nname = "a"\ndependencies = ["x"{more}]\n\n[tool.uv.sources]\n{sources}'


@pytest.mark.parametrize(
    ("mine", "new", "expected"),
    [
        # The generator's new source of a distribution that the user has taken out of the requirements.
        ({"more": ""}, {"more": ', "y"'}, {"x", "y"}),
        ({"more": "", "drop": True}, {"more": ', "y"'}, {"x"}),
    ],
)
def test_a_source_without_a_requirement_is_left_out(mine, new, expected):
    base = SOURCES.format(more=', "y"' if mine.get("drop") else "", sources='x = {path = "x"}\n')
    existing = SOURCES.format(more=mine["more"], sources='x = {path = "x"}\n')
    generated = SOURCES.format(**new, sources='x = {path = "x"}\ny = {path = "y"}\n')
    import tomllib

    merged = merge_pyproject(base.encode(), existing.encode(), generated.encode())
    assert set(tomllib.loads(merged.text.decode())["tool"]["uv"]["sources"]) == expected


def test_a_journal_is_json():
    assert json.loads(Journal((), ("a",)).dump()) == {"steps": [], "folders": ["a"]}
