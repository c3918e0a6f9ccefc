"""Rules of one file by tables: spec, lock and disk give an action and a reason; copies of blueprints; git's unfinished merges."""

import os
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest
from targcc_gen.errors import BlueprintFetchError, GitError, PathError
from targcc_gen.render.tree import Owner, TreeFile
from targcc_gen.spec.library import LARGEST, MOST, Upstream
from targcc_gen.sync import blueprint_repositories, branches, planner, rules
from targcc_gen.sync.blueprint_repositories import Fetched, plan_copies
from targcc_gen.sync.branches import Stages, git_conflict, is_certain, stages_of
from targcc_gen.sync.disk import Disk, OnDisk
from targcc_gen.sync.lock import Lock, LockEntry
from targcc_gen.sync.merge import Side
from targcc_gen.sync.merge_python import Formats
from targcc_gen.sync.plan.moves import OldFile
from targcc_gen.sync.plan.plan import (
    Action,
    Change,
    Outcome,
    Plan,
    Situation,
    is_formatted,
    kept_files,
    marked,
)

MANAGED, SCAFFOLD, PATCHED = Owner.MANAGED, Owner.SCAFFOLD, Owner.PATCHED
CREATE, UPDATE, MERGE, KEEP = Action.CREATE, Action.UPDATE, Action.MERGE, Action.KEEP
CONFLICT, DELETE, UNCHANGED = Action.CONFLICT, Action.DELETE, Action.UNCHANGED
OLD, NEW, MINE = b"a\nb\nc\n", b"a\nb\nC\n", b"A\nb\nc\n"
BOTH, OTHER = b"A\nb\nC\n", b"a\nb\nmine\n"
BLOCKED = "it is read-only"
WITH_MARKERS = b"<<<<<<< mine\na\n=======\nb\n>>>>>>> targcc-gen\n"


def _file(content=NEW, owner=MANAGED, path="a.txt", **options):
    return TreeFile(path, content, owner, **options)


def _entry(content=OLD, owner=MANAGED, path="a.txt", *, keep_base=True, **options):
    return replace(LockEntry.of(path, owner, content, keep_base=keep_base), **options)


def _decide(tmp_path, generated, entry, raw, *, blocked=None, path="a.txt", **options):
    disk = OnDisk(raw, blocked)
    situation = Situation(path, generated, entry, disk, Formats(tmp_path), **options)
    outcome = rules.decide(situation)
    change = outcome.change
    assert (change.path, change.before) == (path, raw)
    return outcome, (change.action, change.reason, change.after)


@pytest.mark.parametrize(
    ("generated", "raw", "options", "expected"),
    [
        (_file(), None, {}, (CREATE, "", NEW)),
        (_file(), NEW, {}, (UNCHANGED, "it is there already", None)),
        (_file(), NEW.replace(b"\n", b"\r\n"), {}, (UNCHANGED, "it is there already", None)),
        (_file(owner=SCAFFOLD), OLD, {"adopt": True}, (KEEP, "yours was there already", None)),
        (
            _file(owner=SCAFFOLD),
            OLD,
            {},
            (CONFLICT, "it is there already, and targcc-gen did not make it", None),
        ),
        (
            _file(),
            OLD,
            {"adopt": True},
            (CONFLICT, "it is there already, and targcc-gen did not make it", None),
        ),
        (_file(), OLD, {"side": Side.MINE}, (KEEP, "as you wished", None)),
        (_file(), OLD, {"side": Side.GENERATED}, (UPDATE, "as you wished", NEW)),
        (_file(), None, {"blocked": BLOCKED}, (CONFLICT, BLOCKED, None)),
    ],
)
def test_a_file_that_is_new_to_the_lock(tmp_path, generated, raw, options, expected):
    outcome, result = _decide(tmp_path, generated, None, raw, **options)
    assert result == expected
    assert (outcome.entry is None) == (result[0] is CONFLICT)
    assert outcome.entry is None or outcome.entry.base == NEW


@pytest.mark.parametrize(
    ("content", "raw", "options", "expected"),
    [
        (OLD, OLD, {}, (UNCHANGED, "", None)),
        (NEW, NEW, {}, (UNCHANGED, "", None)),
        (NEW, OLD, {}, (UPDATE, "", NEW)),
        (NEW, OLD.replace(b"\n", b"\r\n"), {}, (UPDATE, "", NEW.replace(b"\n", b"\r\n"))),
        (OLD, MINE, {}, (UNCHANGED, "your edits stand", None)),
        (NEW, MINE, {}, (MERGE, "your line kept", BOTH)),
        (NEW, BOTH, {}, (UNCHANGED, "it has the change already", None)),
        (NEW, OTHER, {}, (CONFLICT, "", None)),
        (NEW, OTHER, {"side": Side.MINE}, (UNCHANGED, "it has the change already", None)),
        (NEW, OTHER, {"side": Side.GENERATED}, (UPDATE, "", NEW)),
        (NEW, None, {}, (KEEP, "you deleted it; restore brings it back", None)),
        (NEW, None, {"blocked": "it is a link"}, (CONFLICT, "it is a link", None)),
        (NEW, OLD, {"blocked": BLOCKED}, (CONFLICT, BLOCKED, None)),
        (NEW, WITH_MARKERS, {}, (CONFLICT, "it still has conflict markers", None)),
        (b"\0new", b"\0mine", {}, (CONFLICT, "you and targcc-gen both changed it", None)),
        (NEW, None, {"restore": True}, (CREATE, "restored", NEW)),
        (NEW, NEW, {"restore": True}, (UNCHANGED, "", None)),
        (NEW, MINE, {"restore": True}, (CONFLICT, "restoring it would drop what you wrote", None)),
    ],
)
def test_a_managed_file(tmp_path, content, raw, options, expected):
    outcome, result = _decide(tmp_path, _file(content), _entry(), raw, **options)
    assert result == expected
    goes_on = expected[0] not in {CONFLICT, KEEP}
    assert outcome.entry is not None or expected[0] is CONFLICT
    assert outcome.entry is None or (outcome.entry.base == content) == (goes_on or content == OLD)


def test_an_ejected_file_is_left_alone(tmp_path):
    entry = _entry(ejected=True)
    outcome, result = _decide(tmp_path, _file(), entry, MINE)
    assert (outcome.entry, result) == (entry, (KEEP, "ejected", None))
    assert _decide(tmp_path, _file(), entry, MINE, restore=True)[1][0] is CONFLICT


@pytest.mark.parametrize(
    ("entry", "raw", "options", "expected"),
    [
        (_entry(), OLD, {}, (DELETE, "nothing asks for it any more", None)),
        (_entry(), None, {}, (UNCHANGED, "it is gone already", None)),
        (_entry(), OLD, {"blocked": BLOCKED}, (CONFLICT, BLOCKED, None)),
        (_entry(), MINE, {"retire": True}, (DELETE, "nothing asks for it any more", None)),
        (_entry(owner=PATCHED), MINE, {}, (UNCHANGED, "", None)),
        (_entry(ejected=True), MINE, {}, (KEEP, "ejected; nothing asks for it any more", None)),
    ],
)
def test_a_file_that_has_left_the_spec(tmp_path, entry, raw, options, expected):
    outcome, result = _decide(tmp_path, None, entry, raw, **options)
    assert result == expected
    assert (outcome.entry is None) == (entry.owner is MANAGED and expected[0] is not CONFLICT)


def test_an_edited_file_that_has_left_the_spec_stays(tmp_path):
    outcome, (action, reason, after) = _decide(tmp_path, None, _entry(), MINE, whole_spec=True)
    assert (action, after, outcome.change.left_spec) == (KEEP, None, True)
    assert "targcc-gen eject a.txt" in reason
    assert outcome.entry == _entry()


@pytest.mark.parametrize(
    ("generated", "raw", "options", "expected"),
    [
        (_file(owner=PATCHED), NEW, {}, (UNCHANGED, "", None)),
        (_file(owner=PATCHED), OLD, {}, (UPDATE, "", NEW)),
        (_file(owner=PATCHED), None, {}, (CREATE, "", NEW)),
        (_file(owner=PATCHED), OLD, {"blocked": BLOCKED}, (CONFLICT, BLOCKED, None)),
        (_file(owner=SCAFFOLD, replaces=OLD), OLD, {}, (UPDATE, "", NEW)),
        (_file(owner=SCAFFOLD, replaces=OLD), NEW, {}, (UNCHANGED, "", None)),
        (
            _file(owner=SCAFFOLD, replaces=OLD),
            MINE,
            {},
            (CONFLICT, "it changed while it was being read: run the command again", None),
        ),
    ],
)
def test_a_file_that_a_command_edits(tmp_path, generated, raw, options, expected):
    file = replace(generated, added=("targcc-scheduler",))
    outcome, result = _decide(tmp_path, file, None, raw, **options)
    assert result == expected
    if expected[0] is CONFLICT:
        assert outcome.entry is None
    else:
        assert (outcome.entry.added, outcome.entry.packed) == (("targcc-scheduler",), None)


@pytest.mark.parametrize(
    ("content", "raw", "action"),
    [(OLD, OLD, UNCHANGED), (NEW, OLD, UNCHANGED), (NEW, MINE, UNCHANGED)],
)
def test_a_file_of_the_user_is_written_once(tmp_path, content, raw, action):
    entry = _entry(owner=SCAFFOLD)
    outcome, result = _decide(tmp_path, _file(content, SCAFFOLD), entry, raw)
    assert (outcome.entry, result) == (entry, (action, "", None))


YOURS = "yours; add by hand what is new"


@pytest.mark.parametrize(
    ("content", "raw", "options", "expected"),
    [
        (NEW, OLD, {}, (UPDATE, "", NEW)),
        (OLD, MINE, {}, (UNCHANGED, "", None)),
        (NEW, NEW, {}, (UNCHANGED, "", None)),
        (NEW, MINE, {}, (MERGE, "your line kept", BOTH)),
        (NEW, OTHER, {}, (KEEP, YOURS, None)),
        (NEW, OTHER, {"side": Side.GENERATED}, (KEEP, YOURS, None)),
        (NEW, OLD, {"blocked": BLOCKED}, (KEEP, YOURS, None)),
    ],
)
def test_an_inherited_file_follows_where_nothing_collides(
    tmp_path, content, raw, options, expected
):
    file = _file(content, SCAFFOLD, inherited=True)
    outcome, result = _decide(tmp_path, file, _entry(owner=SCAFFOLD), raw, **options)
    assert result == expected
    assert outcome.entry.sha256 == LockEntry.of("", SCAFFOLD, content, keep_base=False).sha256
    assert bool(outcome.change.note) == (result[0] is KEEP)


def test_an_inherited_file_without_a_base_stays(tmp_path):
    entry = _entry(owner=SCAFFOLD, keep_base=False)
    file = _file(NEW, SCAFFOLD, inherited=True)
    assert _decide(tmp_path, file, entry, MINE)[1] == (KEEP, YOURS, None)


def test_the_difference_to_apply_by_hand_is_the_generators_own(tmp_path):
    file = _file(NEW, SCAFFOLD, inherited=True)
    note = _decide(tmp_path, file, _entry(owner=SCAFFOLD), OTHER)[0].change.note
    assert [line for line in note.splitlines()[2:] if line[0] in "+-"] == ["-c", "+C"]


def test_the_text_of_an_earlier_release_is_the_base_where_the_lock_has_a_checksum_alone(tmp_path):
    file = _file(NEW, SCAFFOLD, inherited=True, earlier=(b"x\n", OLD, b"y\n"))
    entry = _entry(owner=SCAFFOLD, keep_base=False)
    assert _decide(tmp_path, file, entry, MINE)[1] == (MERGE, "your line kept", BOTH)


def test_a_managed_file_that_may_be_inherited_follows_the_users_choice(tmp_path):
    file = _file(NEW, MANAGED, inherited=True)
    result = _decide(tmp_path, file, _entry(), OTHER, side=Side.GENERATED)[1]
    assert result == (UPDATE, "", NEW)
    assert _decide(tmp_path, file, _entry(), OTHER)[1] == (KEEP, YOURS, None)


@pytest.mark.parametrize(
    ("mine", "new", "expected"),
    [
        # The new text no longer imports what the user's line needs.
        (
            b"import os\n\nx = 1\nz = 3\n\n\ny = os.sep\n",
            b"\nx = 2\nz = 3\n",
            b"import os\n\nx = 2\nz = 3\n\n\ny = os.sep\n",
        ),
        # It no longer defines a name that the user's line uses.
        (
            b"import os\n\nx = 1\nz = 3\n\n\ny = x\n",
            b"import os\n\nw = 2\nz = 3\n",
            None,
        ),
    ],
)
def test_a_merged_module_keeps_the_imports_that_it_needs(tmp_path, mine, new, expected):
    file = _file(new, SCAFFOLD, "a.py", inherited=True)
    entry = _entry(b"import os\n\nx = 1\nz = 3\n", SCAFFOLD, "a.py")
    result = _decide(tmp_path, file, entry, mine, path="a.py")[1]
    if expected is None:
        assert result == (KEEP, YOURS, None)
    else:
        assert result[0] is MERGE
        assert result[2].replace(b"\n\n", b"\n") == expected.replace(b"\n\n", b"\n")


# The wheel that requirements name.

OLD_WHEEL = "vendor/targcc_scheduler-0.1.0-py3-none-any.whl"
NEW_WHEEL = "vendor/targcc_scheduler-0.2.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("text", "renewed"),
    [
        (f"./{OLD_WHEEL}\n", f"./{NEW_WHEEL}\n"),
        ("targcc-scheduler==0.1.0\n", "targcc-scheduler==0.2.0\n"),
        ("Targcc_Scheduler[pg] == 0.1.0 ; x\n", "Targcc_Scheduler[pg] == 0.2.0 ; x\n"),
        ("targcc-scheduler==0.1.0.post1\n", None),
        ("targcc-scheduler>=0.1.0\n", None),
        ("other==0.1.0\n", None),
    ],
)
@pytest.mark.parametrize("edited", [False, True])
def test_requirements_follow_to_the_new_wheel(tmp_path, text, renewed, edited):
    path = "requirements.txt"
    (tmp_path / path).write_bytes(text.encode())
    entry = _entry(b"" if edited else text.encode(), PATCHED, path, keep_base=False)
    lock = Lock({path: entry, OLD_WHEEL: _entry(path=OLD_WHEEL)})
    tree = SimpleNamespace(files={NEW_WHEEL: None, path: None})
    change = Change(path, UNCHANGED, "", PATCHED, text.encode())
    result = rules.renewed(tree, lock, Disk(tmp_path), {path: Outcome(change, entry)})
    if renewed is None:
        assert result == {}
        return
    outcome = result[path]
    assert outcome.change.after == renewed.encode()
    assert outcome.change.reason == f"the scheduler is {NEW_WHEEL} now"
    assert (outcome.entry == entry) is edited


@pytest.mark.parametrize(
    ("files", "locked", "owner", "path"),
    [
        ([], [OLD_WHEEL], PATCHED, "r.txt"),
        ([NEW_WHEEL], [NEW_WHEEL], PATCHED, "r.txt"),
        ([NEW_WHEEL], [OLD_WHEEL], MANAGED, "r.txt"),
        ([NEW_WHEEL], [OLD_WHEEL], PATCHED, "r.py"),
        ([NEW_WHEEL], [OLD_WHEEL], PATCHED, "missing.txt"),
    ],
)
def test_no_requirement_follows_without_a_new_wheel(tmp_path, files, locked, owner, path):
    for name in ("r.txt", "r.py"):
        (tmp_path / name).write_text("targcc-scheduler==0.1.0\n")
    entry = _entry(owner=owner, path=path)
    lock = Lock({path: entry, **{wheel: _entry(path=wheel) for wheel in locked}})
    tree = SimpleNamespace(files=dict.fromkeys([*files, path]))
    outcomes = {path: Outcome(Change(path, UNCHANGED, "", owner), entry)}
    assert rules.renewed(tree, lock, Disk(tmp_path), outcomes) == {}


# The plan.


@pytest.mark.parametrize(
    ("path", "sides", "side"),
    [
        ("a/b.py", {}, None),
        ("a/b.py", {"a/b.py": Side.MINE}, Side.MINE),
        ("a/b.py", {"a": Side.MINE, "a/b.py": Side.GENERATED}, Side.GENERATED),
        ("a/b/c.py", {"a": Side.MINE, ".": Side.GENERATED}, Side.MINE),
        ("b.py", {"a": Side.MINE}, None),
        ("b.py", {".": Side.GENERATED}, Side.GENERATED),
    ],
)
def test_a_choice_is_for_a_file_or_its_nearest_folder(path, sides, side):
    assert planner.side_of(path, sides) is side


def test_conflicts_that_a_choice_did_not_settle_are_named(tmp_path):
    changes = tuple(
        Change(path, action, "", MANAGED)
        for path, action in (("a", CONFLICT), ("b", CONFLICT), ("c", KEEP))
    )
    plan = Plan(tmp_path, changes, Lock(), None, Lock())
    assert planner.unsettled(plan, {"a": Side.MINE, "c": Side.MINE}) == changes[:1]
    assert planner.unsettled(plan, {}) == ()


HEADER = b"# Managed by targcc-gen: regenerate merges your edits.\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (HEADER + b"x\n", b"x\n"),
        (HEADER + b"\nx\n", b"x\n"),
        (HEADER + b"\r\nx\n", b"x\n"),
        (b"#!/bin/sh\n" + HEADER + b"x\n", b"#!/bin/sh\nx\n"),
        (b"1\n2\n" + HEADER + b"x\n", None),
        (b"x" * 400 + HEADER, None),
        (b"x\n", None),
    ],
)
def test_a_file_of_ones_own_has_no_header(content, expected):
    assert planner.without_header(content) == (content if expected is None else expected)


@pytest.mark.parametrize(
    ("raw", "blocked", "result"),
    [
        (HEADER + b"x\n", None, (UPDATE, b"x\n")),
        (b"x\n", None, (KEEP, None)),
        (HEADER + b"x\n", BLOCKED, (KEEP, None)),
        (None, None, (KEEP, None)),
    ],
)
def test_an_ejected_or_forgotten_file_loses_its_header(raw, blocked, result):
    entry, disk = _entry(), OnDisk(raw, blocked)
    ejected, forgotten = planner.ejected(entry, disk), planner.forgotten(entry, disk)
    for outcome, reason in ((ejected, "ejected"), (forgotten, "yours alone")):
        change = outcome.change
        assert (change.action, change.after, change.reason) == (*result, reason)
    assert (ejected.entry.ejected, ejected.entry.packed) == (True, None)
    assert forgotten.entry is None


def test_a_forgotten_job_loses_its_mark():
    text = b'@job("0 2 * * *", left_spec=True)\ndef nightly() -> None: ...\n'
    entry = _entry(path="a.py")
    for raw in (text, text.replace(b"\n", b"\r\n")):
        change = planner.forgotten(entry, OnDisk(raw)).change
        assert change.action is UPDATE
        assert b"left_spec" not in change.after
        assert (b"\r\n" in change.after) == (b"\r\n" in raw)


@pytest.mark.parametrize(
    ("path", "words"),
    [("b.txt", "is no file that targcc-gen made"), ("c.txt", "is yours already")],
)
def test_only_a_managed_file_is_ejected(tmp_path, path, words):
    lock = Lock({"c.txt": _entry(owner=SCAFFOLD, path="c.txt")}, generator="0.2.0")
    assert words in planner._not_managed(path, lock.entries.get(path))
    with pytest.raises(PathError):
        planner.plan_eject(tmp_path, [path])


# Copies of blueprints.

SHOP = Upstream("git+https://x/shop@v1", "https://x/shop", "v1")
PARTS = ("blueprint.yaml", "job.py.jinja", "test.py.jinja")


def _listing(*lines):
    return b"\0".join(f"{facts}\t{path}".encode() for facts, path in lines) + b"\0"


def _whole(name, facts="100644 blob 7 9"):
    return [(facts, f"{name}/{part}") for part in PARTS]


class _Answers:
    """Git that has any blob."""

    def problem(self, what):
        return BlueprintFetchError(what, hint="")

    def run(self, *words):
        return " ".join(words).encode()


def test_the_parts_of_each_blueprint_are_read_and_nothing_else():
    other = [("100644 blob 1 1", "README.md"), ("100755 blob 2 1", "mail/notes.txt")]
    listing = _listing(*_whole("mail"), *other, *_whole("http", "100755 blob 8 200000"))
    files = blueprint_repositories._files(_Answers(), listing)
    names = [f"{name}/{part}" for name in ("http", "mail") for part in PARTS]
    assert [path for path, _ in files] == names
    assert {content for _, content in files} == {b"cat-file blob 7", b"cat-file blob 8"}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "it has no folders with a blueprint.yaml there"),
        (_whole("mail")[1:], "it has no folders with a blueprint.yaml there"),
        ([line for number in range(MOST + 1) for line in _whole(f"b{number}")], "more than 200"),
        (_whole("Mail"), "lower-case letters, digits and -: Mail"),
        (_whole("mail")[:2], "it has no mail/test.py.jinja"),
        (_whole("mail", "120000 blob 7 9"), "is no regular file"),
        (_whole("mail", f"100644 blob 7 {LARGEST + 1}"), "is larger than 200 kB"),
    ],
)
def test_a_repository_without_sound_blueprints_is_refused(lines, words):
    with pytest.raises(BlueprintFetchError, match=words):
        blueprint_repositories._files(_Answers(), _listing(*lines))


def test_as_many_blueprints_as_allowed_are_read():
    lines = [line for number in range(MOST) for line in _whole(f"b{number}")]
    assert len(blueprint_repositories._files(_Answers(), _listing(*lines))) == 3 * MOST


@pytest.mark.parametrize(
    ("seconds", "size", "words"),
    [
        (0.0, 10, ""),
        (119.0, 100_000_000, ""),
        (121.0, 10, "it takes longer than 120 s"),
        (0.0, 100_000_001, "it has more than 100 MB"),
    ],
)
def test_a_fetch_has_limits_of_time_and_size(tmp_path, monkeypatch, seconds, size, words):
    now = [1000.0]
    monkeypatch.setattr(blueprint_repositories.time, "monotonic", lambda: now[0])
    git = blueprint_repositories._Git(tmp_path, SHOP)
    now[0] += seconds
    with (tmp_path / "pack").open("wb") as stream:
        stream.truncate(size)  # a sparse file
    assert git._too_much() == words


def test_the_size_of_a_folder_is_that_of_all_its_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"12")
    (tmp_path / "c").write_bytes(b"345")
    assert blueprint_repositories._size(tmp_path) == 5


def test_gits_last_words_are_told(tmp_path):
    git = blueprint_repositories._Git(tmp_path, SHOP)
    for text, words in ((b"", "nothing"), (b"warning\nfatal: no\n", "fatal: no")):
        git._errors.write_bytes(text)
        assert git._last_line() == f"git says: {words}"
    assert "git+https://x/shop@v1: gone" in str(git.problem("gone"))


def test_the_copies_of_a_project_follow_its_repositories(tmp_path):
    place = tmp_path / SHOP.place
    place.mkdir(parents=True)
    (place / "same").write_bytes(b"1")
    (place / "old").write_bytes(b"2")
    (place / "gone").write_bytes(b"3")
    fetched = {SHOP: Fetched("c0", {"same": b"1", "old": b"4", "new": b"5"})}
    plan = plan_copies(tmp_path, fetched)
    changes = {
        change.path.rpartition("/")[2]: (change.action, change.after) for change in plan.changes
    }
    assert changes.pop("source.json")[0] is CREATE
    assert changes == {
        "same": (UNCHANGED, None),
        "old": (UPDATE, b"4"),
        "new": (CREATE, b"5"),
        "gone": (DELETE, None),
    }
    assert [change.action for change in plan_copies(tmp_path, {}).changes] == [DELETE] * 3


def test_copies_behind_a_link_are_not_touched(tmp_path):
    (tmp_path / ".targcc").mkdir()
    assert plan_copies(tmp_path, {}).changes == ()
    (tmp_path / ".targcc" / "blueprints").symlink_to(tmp_path)
    (tmp_path / "mine.txt").write_text("x")
    assert plan_copies(tmp_path, {}).changes == ()
    change, *_ = plan_copies(tmp_path, {SHOP: Fetched("c0", {})}).changes
    assert (change.action, change.settleable) == (CONFLICT, False)


# Git's unfinished merges.

MERGING = b"a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> other\nd\n"


@pytest.mark.parametrize(
    ("raw", "sides"),
    [
        (None, None),
        (b"a\n", None),
        (MERGING, ("a\nb\nd\n", "a\nc\nd\n")),
        (MERGING.replace(b"HEAD", b"mine"), None),
        (MERGING.replace(b"HEAD", b"yours"), None),
        (MERGING + b"\0", None),
        (MERGING + b"\xff", None),
        (MERGING.partition(b"=======")[0], None),
    ],
)
def test_the_sides_of_a_file_that_git_could_not_merge(raw, sides):
    conflict = git_conflict(OnDisk(raw))
    assert sides == (None if conflict is None else (conflict.ours, conflict.theirs))


@pytest.mark.parametrize(
    ("path", "raw", "certain"),
    [
        ("a.toml", MERGING, True),
        ("a.md", MERGING, False),
        ("a.txt", MERGING, False),
        ("a.py", MERGING, True),
        ("a.py", b'"""\n' + MERGING + b'"""\n', False),
        ("a.py", None, False),
    ],
)
def test_markers_in_a_page_or_a_text_may_be_no_conflict(path, raw, certain):
    assert is_certain(path, OnDisk(raw)) is certain


SIDES = git_conflict(OnDisk(b"<<<<<<< HEAD\nA\n=======\na\n>>>>>>> x\nb\nc\n"))


@pytest.mark.parametrize(
    ("generated", "entry", "text"),
    [
        (_file(), _entry(), BOTH),  # our side was edited, the other is the generator's
        (_file(owner=SCAFFOLD), _entry(owner=SCAFFOLD), None),
        (_file(owner=PATCHED), _entry(), None),
        (_file(replaces=OLD), _entry(), None),
        (_file(), None, None),
        (_file(), _entry(keep_base=False), None),
        (_file(OTHER.replace(b"a\n", b"x\n")), _entry(), None),
        (_file(), _entry(MINE, others=(_entry(),)), NEW),
    ],
)
def test_both_sides_of_a_merge_follow_the_spec(tmp_path, generated, entry, text):
    assert branches.settled(SIDES, generated, entry, Formats(tmp_path)) == text


class _Index:
    """Git's index with three versions of a file."""

    def __init__(self, listing):
        self.listing = listing

    def __call__(self, _root, *words):
        if words[0] == "ls-files":
            return self.listing
        return {"1": b"base", "2": b"our\xff", "3": None}[words[2]]


@pytest.mark.parametrize(
    ("listing", "stages"),
    [
        (b"100644 1 1\ta\x00100644 2 2\ta\0", Stages("base", "our�")),
        (b"100644 1 1\ta\x00100644 3 3\ta\0", Stages("base")),
        (b"100644 1 9\ta\x00100644 1\ta\x00100644 1 2 3\ta\0", Stages()),
        (None, Stages()),
    ],
)
def test_the_versions_of_a_file_come_from_gits_index(tmp_path, monkeypatch, listing, stages):
    monkeypatch.setattr(branches.git, "read", _Index(listing))
    assert stages_of(tmp_path, "a") == stages


def test_a_version_that_is_too_large_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(branches.git, "read", _Index(b"100644 1 1\ta\0"))
    for largest, base in ((4, "base"), (3, None)):
        monkeypatch.setattr(branches, "_LARGEST", largest)
        assert stages_of(tmp_path, "a") == Stages(base)


@pytest.mark.parametrize(
    ("merged", "text", "is_gits"),
    [
        ([MERGING], MERGING, True),
        ([MERGING], MERGING.replace(b"HEAD", b"ours").replace(b"\n", b"\r\n"), True),
        ([b"x", MERGING, b"x"], MERGING, True),
        ([b"x", None, MERGING], MERGING, True),
        ([b"x", b"x", b"x"], MERGING, False),
        ([MERGING] * 3, MERGING + b"edited\n", False),
    ],
)
def test_a_file_as_git_left_it_has_no_edits(monkeypatch, merged, text, is_gits):
    answers, styles = iter(merged), []

    def run(folder, *words, statuses):
        assert [path.read_text() for path in sorted(folder.iterdir())] == ["ours", "base", "theirs"]
        assert (0 in statuses, 127 in statuses, 128 in statuses) == (True, True, False)
        styles.append(words[2] if words[2].startswith("--") else "")
        return next(answers)

    monkeypatch.setattr(branches.git, "run_outside_repository", run)
    assert Stages("base", "ours", "theirs").made(text.decode()) is is_gits
    assert styles == ["", "--diff3", "--zdiff3"][: len(styles)]
    assert Stages("base", "ours").made(text.decode()) is False


# A file that git could not merge, in the plan.

CONFLICTED = b"<<<<<<< HEAD\nA\n=======\na\n>>>>>>> x\nb\nc\n"
TWO = CONFLICTED + CONFLICTED
T = "a.toml"


def _planned(tmp_path, generated, entry, raw, path="a.toml", **options):
    situation = Situation(path, generated, entry, OnDisk(raw), Formats(tmp_path), **options)
    outcome = planner._decided(situation)
    change = outcome.change
    assert change.before == raw
    return change, (change.action, change.reason, change.after)


GITS = "git's conflict is settled by targcc.yaml"


@pytest.mark.parametrize(
    ("generated", "entry", "raw", "expected"),
    [
        (_file(path=T), _entry(path=T), OLD, (UPDATE, "", NEW)),
        (_file(path=T), _entry(path=T), CONFLICTED, (MERGE, GITS, BOTH)),
        (_file(path=T), _entry(path=T), CONFLICTED.replace(b"\n", b"\r\n"), (MERGE, GITS, BOTH.replace(b"\n", b"\r\n"))),
        (_file(path=T), _entry(MINE, path=T, others=(_entry(path=T),)), CONFLICTED, (MERGE, GITS, NEW)),
        (_file(path=T), _entry(path=T, keep_base=False), CONFLICTED, (CONFLICT, "git could not merge a place: edit what is between its markers", None)),
        (_file(path=T), _entry(path=T, keep_base=False), TWO, (CONFLICT, "git could not merge 2 places: edit what is between its markers", None)),
        (_file(path=T), _entry(path=T, ejected=True), CONFLICTED, (KEEP, "ejected", None)),
        (_file(path=T, replaces=OLD), _entry(path=T), CONFLICTED, (CONFLICT, "it changed while it was being read: run the command again", None)),
    ],
)  # fmt: skip
def test_git_conflicts_are_settled_by_the_spec(tmp_path, generated, entry, raw, expected):
    change, result = _planned(tmp_path, generated, entry, raw)
    assert result == expected
    assert change.settleable is not (result[0] is CONFLICT)


def test_markers_that_may_be_text_are_left_to_the_rules(tmp_path):
    file, entry = _file(path="a.md"), _entry(path="a.md", keep_base=False)
    _, result = _planned(tmp_path, file, entry, CONFLICTED, path="a.md")
    assert result == (CONFLICT, "you and targcc-gen both changed it", None)


def test_a_file_to_restore_is_not_settled(tmp_path):
    result = _planned(tmp_path, _file(path=T), _entry(path=T), CONFLICTED, restore=True)[1]
    assert result == (CONFLICT, "restoring it would drop what you wrote", None)


JOB = b'from x import job\n\n\n@job("{}", timeout="{}")\ndef nightly() -> None: ...\n'


def _job(cron, timeout):
    return JOB.replace(b"{}", cron, 1).replace(b"{}", timeout, 1)


def test_both_sides_of_a_job_follow_argument_by_argument():
    base, mine, new = _job(b"0 1 * * *", b"1m"), _job(b"0 1 * * *", b"2m"), _job(b"0 3 * * *", b"1m")  # fmt: skip
    assert branches._by_decorator(mine, new, base) == _job(b"0 3 * * *", b"2m")
    assert branches._by_decorator(mine, _job(b"0 1 * * *", b"3m"), base) is None
    assert branches._by_decorator(b"def (", new, base) is None


def _change(path, *, note="", before=b"old", **options):
    change = Change(path, KEEP, "yours", SCAFFOLD, before, note=note)
    return Outcome(change, _entry(path=path), **options)


def test_notes_and_dropped_texts_are_kept(tmp_path):
    outcomes = {
        "a.txt": _change("a.txt", note="-1\n+2\n"),
        "b.py": _change("b.py", drops=True),
        "c.py": _change("c.py", drops=True, before=None),
        "d.py": _change("d.py"),
    }
    kept = planner._notes(outcomes, Disk(tmp_path))
    diff, text = ".targcc/kept/a.txt.diff", ".targcc/kept/b.py.txt"
    assert set(kept) == {"a.txt", diff, text}
    assert kept["a.txt"].change.reason == f"yours: {diff}"
    assert kept["a.txt"].entry == outcomes["a.txt"].entry
    for path, content in ((diff, b"-1\n+2\n"), (text, b"old")):
        change = kept[path].change
        assert (change.action, change.after, kept[path].entry) == (CREATE, content, None)


def test_a_deleted_job_leaves_a_tombstone_until_its_place_is_taken():
    job = _entry(b'@job("0 2 * * *")\ndef nightly() -> None: ...\n', SCAFFOLD, "jobs/nightly.py")
    page = _entry(path="page.md")
    lock = Lock(
        {job.path: job, page.path: page}, removed={"jobs/old.py": job, "jobs/taken.py": job}
    )

    def outcome(path, action, before=b"x", entry=None):
        return {path: Outcome(Change(path, action, "", SCAFFOLD, before), entry)}

    outcomes = outcome(job.path, DELETE) | outcome("page.md", DELETE)
    after = planner._after(lock, outcomes)
    assert set(after.removed) == {"jobs/old.py", "jobs/taken.py", job.path}
    assert after.entries == {}
    outcomes = outcome("jobs/taken.py", KEEP) | outcome("jobs/old.py", CREATE, None, job)
    after = planner._after(lock, outcomes)
    assert after.removed == {}
    assert set(after.entries) == {job.path, "page.md", "jobs/old.py"}
    twice = replace(job, others=(page,))
    assert planner._after(lock, outcome(job.path, KEEP, entry=twice)).entries[job.path].others == ()


# Fetching, without git.


class _Process:
    """Process of git that needs some waits."""

    def __init__(self, waits, returncode):
        self.waits, self.returncode, self.killed = waits, returncode, False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def wait(self, seconds):
        self.waits -= 1
        if self.waits >= 0:
            raise subprocess.TimeoutExpired("git", seconds)

    def kill(self):
        self.killed = True


@pytest.fixture
def git(monkeypatch):
    """Return a function that makes git's answers: output, errors and exit status of each call."""
    calls = []

    def make(*answers, waits=0):
        given = iter(answers)

        def start(folder, *arguments, protocols, stdout, stderr):
            assert (folder.name, protocols) == ("repository", "https:ssh:file")
            calls.append(arguments)
            output, errors, returncode = next(given)
            os.write(stdout, output)
            os.write(stderr, errors)
            calls.append(_Process(waits, returncode))
            return calls.pop() if waits == 0 else calls[-1]

        monkeypatch.setattr(blueprint_repositories, "start_fetching", start)
        return calls

    return make


def test_git_answers_or_says_why_not(tmp_path, git):
    git((b"answer", b"", 0), (b"", b"hint\nfatal: gone\n", 128))
    repository = blueprint_repositories._Git(tmp_path, SHOP)
    assert repository.run("rev-parse") == b"answer"
    with pytest.raises(BlueprintFetchError, match="git says: fatal: gone"):
        repository.run("fetch")


@pytest.mark.parametrize("waits", [0, 3])
def test_a_fetch_that_takes_too_long_is_ended(tmp_path, git, monkeypatch, waits):
    calls = git((b"", b"", 0), waits=waits)
    repository = blueprint_repositories._Git(tmp_path, SHOP)
    monkeypatch.setattr(repository, "_too_much", lambda: "it takes longer")
    with pytest.raises(BlueprintFetchError, match="it takes longer"):
        repository.run("fetch")
    assert waits == 0 or calls[-1].killed


def test_a_fetch_within_its_limits_is_waited_for(tmp_path, git):
    calls = git((b"x", b"", 0), waits=3)
    assert blueprint_repositories._Git(tmp_path, SHOP).run("fetch") == b"x"
    assert (calls[-1].waits, calls[-1].killed) == (-1, False)


def test_without_git_there_are_no_blueprints(tmp_path, monkeypatch):
    def start(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(blueprint_repositories, "start_fetching", start)
    with pytest.raises(GitError, match="git is not installed"):
        blueprint_repositories._Git(tmp_path, SHOP).run("init")


COMMIT = "0123456789" * 4


@pytest.mark.parametrize(
    ("ref", "wanted", "commit", "words"),
    [
        ("v1", "refs/tags/v1", COMMIT, None),
        (COMMIT, COMMIT, COMMIT, None),
        (COMMIT, COMMIT, "9" * 40, f"it answered with commit {'9' * 40}"),
    ],
)
def test_blueprints_come_from_the_tag_or_commit_of_the_spec(git, ref, wanted, commit, words):
    nothing = (b"", b"", 0)
    listing, blob = _listing(*_whole("mail")), (b"content", b"", 0)
    calls = git(nothing, nothing, (f"{commit}\n".encode(), b"", 0), (listing, b"", 0), *[blob] * 3)
    upstream = replace(SHOP, ref=ref, folder="blueprints")
    if words:
        with pytest.raises(BlueprintFetchError, match=words):
            blueprint_repositories.fetch(upstream)
        return
    fetched = blueprint_repositories.fetch(upstream)
    assert fetched == Fetched(COMMIT, {f"mail/{part}": b"content" for part in PARTS})
    assert [call[0] for call in calls] == [
        "init",
        "fetch",
        "rev-parse",
        "ls-tree",
        *["cat-file"] * 3,
    ]
    assert calls[0] == ("init", "--quiet", "--bare", "--template=", ".")
    assert calls[1][-2:] == ("https://x/shop", wanted)
    assert calls[2] == ("rev-parse", "--verify", "FETCH_HEAD^{commit}")
    assert calls[3] == ("ls-tree", "-r", "-z", "--long", f"{COMMIT}:blueprints")


BINARY = b"a\0b\n"
WHOLE = b"<<<<<<< mine\nA\nb\nc\n=======\na\nb\nC\n>>>>>>> generated\n"


@pytest.mark.parametrize(
    ("texts", "side", "shown", "after"),
    [
        ((MINE, NEW), None, 1, None),
        ((MINE, NEW), Side.MARKERS, 1, WHOLE),
        ((BINARY, NEW), None, 0, None),
        ((MINE, BINARY), None, 0, None),
        ((MINE, BINARY), Side.MARKERS, 0, None),
    ],
)
def test_two_texts_without_a_common_base(tmp_path, texts, side, shown, after):
    (mine, new), known = texts, _entry(keep_base=False)
    outcome, result = _decide(tmp_path, _file(new), known, mine, side=side)
    assert (result[0], result[2]) == (CONFLICT, after)
    assert len(outcome.change.collisions) == shown
    assert outcome.entry.sha256 == LockEntry.of("a.txt", MANAGED, new if after else OLD, keep_base=False).sha256  # fmt: skip


@pytest.mark.parametrize(
    ("path", "base", "text", "expected"),
    [
        ("a.py", b"x = 1\n", b"x  =  1\n", True),
        ("a.py", b"x = 1\n", b"x = 2\n", False),
        ("a.txt", b"x = 1\n", b"x  =  1\n", False),
        ("a.py", None, b"x = 1\n", False),
    ],
)
def test_a_text_that_differs_in_formatting_alone(path, base, text, expected):
    known = _entry(base or b"x = 1\n", path=path, keep_base=base is not None)
    assert is_formatted(known, text) is expected
    old = OldFile(known, OnDisk(text), ())
    assert old.is_edited is (old.is_other and not expected)


@pytest.mark.parametrize(
    ("actions", "is_empty"),
    [
        ((), True),
        ((UNCHANGED,), True),
        ((UNCHANGED, CREATE), False),
        ((CREATE, CREATE), False),
        ((UNCHANGED, CONFLICT), False),
    ],
)
def test_a_plan_without_anything_to_write_is_empty(tmp_path, actions, is_empty):
    changes = tuple(
        Change("a", action, "", MANAGED, after=b"x" if action is CREATE else None)
        for action in actions
    )
    plan = Plan(tmp_path, changes, Lock(), Lock().dump(), Lock())
    assert plan.is_empty is is_empty


def test_a_project_without_kept_files_has_none(tmp_path):
    assert kept_files(tmp_path) == []
    (tmp_path / ".targcc/kept/src").mkdir(parents=True)
    (tmp_path / ".targcc/kept/src/b.txt").write_text("")
    (tmp_path / ".targcc/kept/a.txt").write_text("")
    assert kept_files(tmp_path) == [".targcc/kept/a.txt", ".targcc/kept/src/b.txt"]


@pytest.mark.parametrize(("blocked", "after"), [(None, b"x\r\n"), (BLOCKED, None)])
def test_markers_are_written_where_the_file_may_be_written(tmp_path, blocked, after):
    situation = Situation("a.txt", _file(), _entry(), OnDisk(b"a\r\n", blocked), Formats(tmp_path))
    outcome = Outcome(Change("a.txt", CONFLICT, "", MANAGED), _entry())
    written = marked(situation, outcome, _entry(NEW), b"x\n")
    assert written.change.after == after
    assert written.entry == (_entry() if blocked else _entry(NEW))
