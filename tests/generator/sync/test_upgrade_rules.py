"""Users' modules after an upgrade, by tables: imports that follow the scheduler, and own files in its former folder."""

from dataclasses import replace

import pytest
from targcc_gen import __version__
from targcc_gen.render.tree import Layout, Owner, Tree, TreeFile
from targcc_gen.sync.disk import Disk
from targcc_gen.sync.lock import Lock, LockEntry, digest
from targcc_gen.sync.plan.plan import Action, Change, Outcome
from targcc_gen.sync.plan.upgrade import imports_rewritten, own_files_moved
from targcc_gen.sync.renames.table import HOME, Renames

LAYOUT = Layout("src/acme")
OLD = "src/acme/scheduler/"
TABLES, NEW_TABLES, GONE = f"{OLD}tables.py", f"{HOME}db/tables.py", f"{OLD}gone.py"
RENAMES = Renames({TABLES: (NEW_TABLES,), GONE: ()}, OLD)
HELPERS = "src/acme/helpers.py"
IMPORT, FOLLOWED = (
    b"from acme.scheduler.tables import runs\n",
    b"from targcc_scheduler.db.tables import runs\n",
)
SPLIT = b"from acme.scheduler.gone import Gone\n"
FOLLOWS = "imports follow the scheduler"
NOTHING_LEFT = "what it names has moved: change it by hand"
IN_THE_WAY = "yours, and in a folder that is a module now: move it, such as into the folder above"
UPDATE, KEEP, CREATE = Action.UPDATE, Action.KEEP, Action.CREATE
DELETE, CONFLICT, MERGE = Action.DELETE, Action.CONFLICT, Action.MERGE


def entry(path, content, owner=Owner.MANAGED, *, keep_base=True):
    return LockEntry.of(path, owner, content, keep_base=keep_base)


def lock_of(*entries, generator="0.1.0"):
    old = (entry(TABLES, b"runs = 1\n"), entry(GONE, b"class Gone: ...\n"))
    return Lock({item.path: item for item in (*old, *entries)}, generator)


def outcomes_of(**more):
    texts = {f"{HOME}__init__.py": b"", NEW_TABLES: b"runs = 1\n"}
    return {
        path: Outcome(Change(path, CREATE, "", Owner.MANAGED, after=text), entry(path, text))
        for path, text in texts.items()
    } | more


def write(root, files):
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


class Blocked(Disk):
    """A disk that refuses to write one path."""

    def __init__(self, root, path):
        super().__init__(root)
        self.path = path

    def look(self, path):
        state = super().look(path)
        return replace(state, blocked="it is a link") if path == self.path else state


def followed(root, files, *entries, outcomes=None, disk=None, tree=None, lock=None):
    write(root, files)
    tree = tree or Tree.of([TreeFile(NEW_TABLES, b"runs = 1\n", Owner.MANAGED)], layout=LAYOUT)
    lock = lock or lock_of(*entries)
    return imports_rewritten(
        tree, lock, disk or Disk(root), RENAMES, outcomes_of() if outcomes is None else outcomes
    )


@pytest.mark.parametrize(
    ("path", "before", "expected"),
    [
        (HELPERS, IMPORT, (UPDATE, FOLLOWS, FOLLOWED)),
        ("tests/test_it.py", IMPORT, (UPDATE, FOLLOWS, FOLLOWED)),
        (
            HELPERS,
            IMPORT.replace(b"\n", b"\r\n"),
            (UPDATE, FOLLOWS, FOLLOWED.replace(b"\n", b"\r\n")),
        ),
        (HELPERS, b"from .scheduler.tables import runs\n", (UPDATE, FOLLOWS, FOLLOWED)),
        ("src/acme/__init__.py", b"from .scheduler.tables import runs\n", (UPDATE, FOLLOWS, FOLLOWED)),
        (
            "src/acme/reports/__init__.py",
            b"from ..scheduler.tables import runs\n",
            (UPDATE, FOLLOWS, FOLLOWED),
        ),
        (HELPERS, SPLIT, (KEEP, NOTHING_LEFT, None)),
        (HELPERS, b"import os\n", None),
        (HELPERS, b"SCHEDULER = 'scheduler'\n", None),
        (HELPERS, b"\xff" + IMPORT, None),
        (TABLES, IMPORT, None),
        (f"{HOME}db/mine.py", IMPORT, None),
        (".venv/lib/it.py", IMPORT, None),
        ("build/it.py", IMPORT, None),
        ("src/acme/notes.txt", IMPORT, None),
    ],
)  # fmt: skip
def test_a_module_that_the_lock_does_not_know(tmp_path, path, before, expected):
    outcome = followed(tmp_path, {path: before}).get(path)
    if expected is None:
        assert outcome is None
        return
    change = outcome.change
    assert (change.action, change.reason, change.after) == expected
    assert (change.path, change.before, change.owner) == (path, before, Owner.SCAFFOLD)
    assert outcome.entry is None


def test_a_name_without_a_successor_is_shown_where_it_stands(tmp_path):
    gone = b"from acme.scheduler.gone import (\n    Gone,\n)\n"
    change = followed(tmp_path, {HELPERS: b"\n" + IMPORT + gone})[HELPERS].change
    (left,) = change.left
    assert (left.first, left.last) == (3, 5)
    assert left.mine.startswith("from acme.scheduler.gone import (")
    assert "\n→ " in left.mine
    assert change.after == b"\n" + FOLLOWED + gone
    assert (change.action, change.reason) == (UPDATE, FOLLOWS)


EDITED, EDITED_AFTER = IMPORT + b"mine = runs\n", FOLLOWED + b"mine = runs\n"


@pytest.mark.parametrize(
    ("owner", "base", "text", "after"),
    [
        (Owner.SCAFFOLD, IMPORT, IMPORT, FOLLOWED),
        (Owner.SCAFFOLD, IMPORT, EDITED, FOLLOWED),
        (Owner.SCAFFOLD, None, IMPORT, FOLLOWED),
        (Owner.SCAFFOLD, None, EDITED, IMPORT),
        (Owner.PATCHED, None, IMPORT, FOLLOWED),
        (Owner.PATCHED, None, EDITED, IMPORT),
        (Owner.MANAGED, IMPORT, IMPORT, IMPORT),
    ],
)
def test_rewritten_imports_are_no_edits_of_the_user(tmp_path, owner, base, text, after):
    known = entry(HELPERS, IMPORT, owner, keep_base=base is not None)
    outcome = followed(tmp_path, {HELPERS: text}, known)[HELPERS]
    assert outcome.change.after == (FOLLOWED if text == IMPORT else EDITED_AFTER)
    assert outcome.change.owner is owner
    assert outcome.entry.sha256 == digest(after)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"action": CONFLICT, "reason": "both"}, None),
        ({"action": DELETE, "reason": "gone"}, None),
        ({"action": MERGE, "reason": "your line kept", "after": IMPORT}, (MERGE, f"{FOLLOWS}; your line kept")),
        ({"action": KEEP, "reason": "yours"}, (UPDATE, f"{FOLLOWS}; yours")),
        ({"action": CREATE, "reason": "", "after": IMPORT.replace(b"\n", b"\r\n")}, (CREATE, FOLLOWS)),
        ({"action": Action.UNCHANGED, "reason": "it is there"}, (UPDATE, FOLLOWS)),
    ],
)  # fmt: skip
def test_the_imports_of_a_file_that_changes_anyway(tmp_path, change, expected):
    known = Outcome(Change(HELPERS, owner=Owner.SCAFFOLD, before=IMPORT, **change), None)
    outcome = followed(tmp_path, {HELPERS: IMPORT}, outcomes=outcomes_of(**{HELPERS: known})).get(HELPERS)  # fmt: skip
    if expected is None:
        assert outcome is None
        return
    assert (outcome.change.action, outcome.change.reason) == expected
    assert outcome.change.after.replace(b"\r\n", b"\n") == FOLLOWED
    assert (b"\r\n" in outcome.change.after) is (change["action"] is CREATE)


def test_a_file_that_must_not_be_written_is_named(tmp_path):
    known = entry(HELPERS, IMPORT, Owner.SCAFFOLD)
    outcome = followed(tmp_path, {HELPERS: IMPORT}, known, disk=Blocked(tmp_path, HELPERS))[HELPERS]
    assert outcome.change.action is KEEP
    assert outcome.change.reason == "it is a link; its imports are those of an older scheduler"
    assert outcome.change.after is None
    assert outcome.entry == known


NOW = Lock({HELPERS: entry(HELPERS, IMPORT, Owner.SCAFFOLD)}, __version__)


@pytest.mark.parametrize(
    ("lock", "layout", "is_followed"),
    [
        (lock_of(), LAYOUT, True),
        (lock_of(generator=__version__), LAYOUT, True),
        (NOW, LAYOUT, False),
        (replace(NOW, generator="0.1.0"), LAYOUT, False),
        (replace(NOW, generator="99.0.0"), LAYOUT, False),
        (lock_of(), None, False),
    ],
)
def test_imports_follow_from_the_old_place_only(tmp_path, lock, layout, is_followed):
    tree = Tree.of([TreeFile(NEW_TABLES, b"runs = 1\n", Owner.MANAGED)], layout=layout)
    assert (HELPERS in followed(tmp_path, {HELPERS: IMPORT}, lock=lock, tree=tree)) is is_followed


@pytest.mark.parametrize("name", ["pager.py", "__init__.py"])
@pytest.mark.parametrize("is_ejected", [True, False])
def test_an_own_module_inside_the_scheduler_follows_until_it_is_placed(tmp_path, name, is_ejected):
    path, text = f"{HOME}db/{name}", b"from ..tables import runs\n"
    known = replace(entry(path, text), ejected=True) if is_ejected else None
    moved = Outcome(Change(path, CREATE, "yours", Owner.SCAFFOLD, after=text), known)
    outcome = followed(tmp_path, {}, outcomes=outcomes_of(**{path: moved})).get(path)
    assert outcome is None if is_ejected else outcome.change.after == FOLLOWED


def test_imports_follow_to_the_installed_scheduler_where_the_project_holds_none(tmp_path):
    old, new = "from acme.scheduler", "from targcc_scheduler.db"
    files = {HELPERS: f"{old}.tables import job_server\n".encode()}
    known = entry(TABLES, b"job_server = 1\n")
    outcome = followed(tmp_path, files, known, outcomes={})[HELPERS]
    assert outcome.change.after == f"{new}.tables import job_server\n".encode()


@pytest.mark.parametrize(("action", "is_followed"), [(MERGE, True), (UPDATE, False)])
def test_a_managed_module_follows_where_it_holds_edits(tmp_path, action, is_followed):
    path, text = f"{HOME}db/nodes.py", b"from acme.scheduler.tables import runs\n"
    moved = Outcome(Change(path, action, "", Owner.MANAGED, after=text), entry(path, text))
    assert (path in followed(tmp_path, {}, outcomes=outcomes_of(**{path: moved}))) is is_followed


MINE = f"{OLD}alerts/mine.py"
MINE_NEW = f"{HOME}alerts/mine.py"


def moved(root, files, *, vendored=True, disk=None, lock=None, more=()):
    write(root, files)
    new = [TreeFile(NEW_TABLES, b"runs = 1\n", Owner.MANAGED)] if vendored else []
    tree = Tree.of([*new, *more], layout=LAYOUT)
    outcomes = own_files_moved(tree, lock or lock_of(), disk or Disk(root), RENAMES)
    return {
        path: (item.change.action, item.change.reason, item.change.after)
        for path, item in outcomes.items()
        if item.entry is None and item.change.path == path
    }


KEPT = f".targcc/kept/{MINE}.txt"


@pytest.mark.parametrize(
    ("others", "options", "expected"),
    [
        (
            {},
            {},
            {MINE: (DELETE, f"moved to {MINE_NEW}", None), MINE_NEW: (CREATE, "yours, moved with the scheduler", b"x\n")},
        ),
        ({}, {"vendored": False}, {MINE: (CONFLICT, IN_THE_WAY, None)}),
        ({}, {"lock": NOW}, {}),
        (
            {MINE_NEW: b"y\n"},
            {},
            {
                MINE: (DELETE, f"{MINE_NEW} is another file: yours is in {KEPT}", None),
                KEPT: (CREATE, "your file, as it was", b"x\n"),
            },
        ),
        (
            {},
            {"more": [TreeFile(MINE_NEW, b"y\n", Owner.MANAGED)]},
            {
                MINE: (DELETE, f"{MINE_NEW} is another file: yours is in {KEPT}", None),
                KEPT: (CREATE, "your file, as it was", b"x\n"),
            },
        ),
        ({}, {"more": [TreeFile(MINE, b"y\n", Owner.MANAGED)]}, {}),
        (
            {f"{OLD}__pycache__/mine.pyc": b"", TABLES: b"runs = 2\n"},
            {"vendored": False},
            {MINE: (CONFLICT, IN_THE_WAY, None)},
        ),
    ],
)  # fmt: skip
def test_an_own_file_in_the_former_folder(tmp_path, others, options, expected):
    assert moved(tmp_path, {MINE: b"x\n", **others}, **options) == expected


@pytest.mark.parametrize(
    ("path", "reason"), [(MINE, "it is a link"), (MINE_NEW, f"{MINE_NEW} is another file: yours is in {KEPT}")]
)  # fmt: skip
def test_an_own_file_where_a_path_must_not_be_written(tmp_path, path, reason):
    outcomes = moved(tmp_path, {MINE: b"x\n"}, disk=Blocked(tmp_path, path))
    action = CONFLICT if path == MINE else DELETE
    assert outcomes[MINE] == (action, reason, None)


def test_no_side_settles_a_file_in_the_way_and_its_text_is_shown(tmp_path):
    write(tmp_path, {MINE: b"x\n"})
    change = own_files_moved(Tree.of([], layout=LAYOUT), lock_of(), Disk(tmp_path), RENAMES)[MINE].change  # fmt: skip
    assert not change.settleable
    assert (change.before, change.owner) == (b"x\n", Owner.SCAFFOLD)
