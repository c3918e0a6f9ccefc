"""A moved managed file keeps a person's edits; edits that cannot be moved are saved and reported."""

import json
from pathlib import Path

import pytest
from targcc_gen.render.tree import Layout
from targcc_gen.sync import Action, Change, Owner, Plan, Side, Tree, TreeFile, apply, make_plan
from targcc_gen.sync.planner import plan_eject
from targcc_gen.sync.renames.table import Renames

LAYOUT = Layout("src/acme")
OLD = "vendor/targcc-scheduler/targcc_scheduler/runs.py"
NEW = "vendor/targcc-scheduler/targcc_scheduler/storage/runs.py"
CLAIM = "vendor/targcc-scheduler/targcc_scheduler/storage/claim.py"
SETTLE = "vendor/targcc-scheduler/targcc_scheduler/storage/settle.py"
HEADER = (
    "# Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours\n"
)

HEAD = '''"""Runs."""

import logging
from datetime import datetime

from .settings import Settings
from .tables import runs

LIMIT = 100
GRACE = 30
'''
CLAIM_CODE = '''

def claim(settings: Settings, now: datetime) -> int:
    """Take runs."""
    found = candidates(settings, LIMIT)
    for run in found:
        take(run, now)
    return len(found)


def candidates(settings: Settings, limit: int) -> list[int]:
    """Runs that may be taken."""
    return runs.select(limit=limit)
'''
SETTLE_CODE = '''

class Settler:
    """Ends runs."""

    def settle(self, run: int) -> None:
        """End one."""
        logging.info("settled %s", run)
        runs.update(run, grace=GRACE)

    def close(self) -> None:
        """Stop."""
        logging.info("closed")
'''
FIRST = HEADER + HEAD + CLAIM_CODE + SETTLE_CODE
MOVED = FIRST.replace("from .settings", "from ..settings").replace("from .tables", "from ..tables")
CLAIM_NOW = (
    HEADER
    + '"""Take runs."""\n\nfrom datetime import datetime\n\nfrom ..settings import Settings\nfrom ..tables import runs\n\n'
    + "LIMIT = 100\n"
    + CLAIM_CODE
)
SETTLE_NOW = (
    HEADER
    + '"""End runs."""\n\nimport logging\n\nfrom ..tables import runs\n\nGRACE = 30\n'
    + SETTLE_CODE
)
OTHERS = {
    "vendor/targcc-scheduler/targcc_scheduler/settings.py": "class Settings: ...\n",
    "vendor/targcc-scheduler/targcc_scheduler/tables.py": "runs = None\n",
}


def tree(files: dict[str, str]) -> Tree:
    texts = {**OTHERS, **files}
    return Tree.of(
        [TreeFile(path, text.encode(), Owner.MANAGED) for path, text in texts.items()],
        layout=LAYOUT,
    )


def plan_of(
    files: dict[str, str], root: Path, renames: dict[str, tuple[str, ...]], **options
) -> Plan:
    return make_plan(tree(files), root, renames=Renames(renames), **options)


def change_at(plan: Plan, path: str) -> Change:
    (change,) = (candidate for candidate in plan.changes if candidate.path == path)
    return change


@pytest.fixture
def old(tmp_path):
    """Generate the file at its old place and return its path."""
    apply(make_plan(tree({OLD: FIRST}), tmp_path))
    return tmp_path / OLD


TO_ONE = {OLD: (NEW,)}
TO_TWO = {OLD: (CLAIM, SETTLE)}
PARTS = {CLAIM: CLAIM_NOW, SETTLE: SETTLE_NOW}


class TestMoved:
    def upgrade(self, root: Path, **options) -> Plan:
        plan = plan_of({NEW: MOVED}, root, TO_ONE, **options)
        apply(plan)
        return plan

    def test_an_unedited_file_is_at_its_new_place_and_nowhere_else(self, tmp_path, old):
        plan = self.upgrade(tmp_path)
        assert (tmp_path / NEW).read_text() == MOVED
        assert not old.exists()
        assert change_at(plan, NEW).reason == "moved from targcc_scheduler/runs.py"
        assert change_at(plan, OLD).reason == "moved to targcc_scheduler/storage/runs.py"
        assert plan_of({NEW: MOVED}, tmp_path, TO_ONE).is_empty

    def test_edits_come_along(self, tmp_path, old):
        old.write_text(
            FIRST.replace("LIMIT = 100", "LIMIT = 7").replace(
                "        take(", "        print(run)\n        take("
            )
        )
        plan = self.upgrade(tmp_path)
        assert (tmp_path / NEW).read_text() == MOVED.replace("LIMIT = 100", "LIMIT = 7").replace(
            "        take(", "        print(run)\n        take("
        )
        change = change_at(plan, NEW)
        assert (change.action, change.reason) == (
            Action.MERGE,
            "moved from targcc_scheduler/runs.py, your 2 lines kept",
        )
        assert not old.exists()
        assert plan_of({NEW: MOVED}, tmp_path, TO_ONE).is_empty

    def test_programs_are_told(self, tmp_path, old):
        old.write_text(FIRST.replace("LIMIT = 100", "LIMIT = 7"))
        data = {
            change["path"]: change
            for change in plan_of({NEW: MOVED}, tmp_path, TO_ONE).to_json()["changes"]
        }
        assert data[NEW]["action"] == "merge"
        assert data[NEW]["moved_from"] == [OLD]
        assert data[OLD]["moved_to"] == [NEW]
        json.dumps(data)

    def test_imports_of_the_persons_point_to_the_same_modules(self, tmp_path, old):
        old.write_text(
            FIRST.replace("import logging\n", "import decimal\nimport logging\n")
            .replace(
                "from .tables import runs\n",
                "from .tables import runs, servers\nfrom ..own import rule\n",
            )
            .replace(
                "    return len(found)\n",
                "    from . import tables\n    return len(found) or rule(tables)\n",
            )
        )
        self.upgrade(tmp_path)
        text = (tmp_path / NEW).read_text()
        for line in (
            "import decimal\n",
            "from ..tables import servers\n",
            "from ...own import rule\n",
            "    from .. import tables\n",
        ):
            assert line in text
        compile(text, NEW, "exec")

    def test_a_collision_is_a_conflict_at_the_new_place(self, tmp_path, old):
        edited = FIRST.replace("import logging\n", "import json\nimport logging\n").replace(
            "GRACE = 30", "GRACE = 31"
        )
        old.write_text(edited)
        generated = MOVED.replace("GRACE = 30", "GRACE = 60")
        change = change_at(plan_of({NEW: generated}, tmp_path, TO_ONE), NEW)
        assert change.action is Action.CONFLICT
        (collision,) = change.collisions
        assert edited.splitlines()[collision.first - 1] == "GRACE = 31"
        assert (collision.mine, collision.generated) == ("GRACE = 31\n", "GRACE = 60\n")
        apply(plan_of({NEW: generated}, tmp_path, TO_ONE, sides={NEW: Side.MINE}))
        assert "GRACE = 31" in (tmp_path / NEW).read_text()

    def test_an_edit_beside_text_that_came_from_elsewhere_comes_along(self, tmp_path, old):
        old.write_text(FIRST.replace('info("closed")', 'info("closed for good")'))
        generated = MOVED + '        logging.info("and more")\n'
        apply(plan_of({NEW: generated}, tmp_path, TO_ONE))
        assert (tmp_path / NEW).read_text() == generated.replace(
            'info("closed")', 'info("closed for good")'
        )

    def test_a_file_that_took_only_a_few_lines_is_not_mixed_with_all_of_it(self, tmp_path, old):
        old.write_text(FIRST.replace('info("closed")', 'info("closed for good")'))
        generated = HEADER + "".join(f"line_{n} = {n}\n" for n in range(90)) + "LIMIT = 100\n"
        plan = plan_of({NEW: generated}, tmp_path, TO_ONE)
        assert not plan.conflicts
        apply(plan)
        assert (tmp_path / NEW).read_text() == generated
        assert "closed for good" in (tmp_path / f".targcc/kept/{OLD}.diff").read_text()

    def test_lines_dropped_by_choice_are_kept_aside(self, tmp_path, old):
        old.write_text(FIRST.replace("GRACE = 30", "GRACE = 31"))
        generated = MOVED.replace("GRACE = 30", "GRACE = 60")
        apply(plan_of({NEW: generated}, tmp_path, TO_ONE, sides={NEW: Side.GENERATED}))
        assert (tmp_path / NEW).read_text() == generated
        assert "GRACE = 31" in (tmp_path / ".targcc/kept" / f"{OLD}.txt").read_text()

    def test_a_deleted_file_stays_deleted(self, tmp_path, old):
        old.unlink()
        plan = self.upgrade(tmp_path)
        assert not (tmp_path / NEW).exists()
        assert (
            change_at(plan, NEW).reason
            == "you deleted it as targcc_scheduler/runs.py; restore brings it back"
        )
        assert plan_of({NEW: MOVED}, tmp_path, TO_ONE).is_empty
        apply(plan_of({NEW: MOVED}, tmp_path, TO_ONE, restore=[NEW]))
        assert (tmp_path / NEW).read_text() == MOVED

    def test_an_ejected_file_stays_where_it_is_and_that_is_said(self, tmp_path, old):
        apply(plan_eject(tmp_path, [OLD]))
        text = old.read_text()
        plan = self.upgrade(tmp_path)
        assert old.read_text() == text
        assert (tmp_path / NEW).read_text() == MOVED
        assert change_at(plan, OLD).reason == (
            "ejected; it stays, and nothing uses it: targcc-gen makes targcc_scheduler/storage/runs.py now"
        )

    def test_line_ends_are_kept(self, tmp_path, old):
        old.write_bytes(FIRST.replace("LIMIT = 100", "LIMIT = 7").replace("\n", "\r\n").encode())
        self.upgrade(tmp_path)
        assert (tmp_path / NEW).read_bytes() == MOVED.replace("LIMIT = 100", "LIMIT = 7").replace(
            "\n", "\r\n"
        ).encode()

    def test_a_file_of_the_persons_at_the_new_place_is_in_the_way(self, tmp_path, old):
        old.write_text(FIRST.replace("LIMIT = 100", "LIMIT = 7"))
        (tmp_path / NEW).parent.mkdir()
        (tmp_path / NEW).write_text("mine = 1\n")
        plan = plan_of({NEW: MOVED}, tmp_path, TO_ONE)
        assert change_at(plan, NEW).action is Action.CONFLICT
        assert (tmp_path / NEW).read_text() == "mine = 1\n"

    def test_a_place_that_moved_again_is_found(self, tmp_path, old):
        old.write_text(FIRST.replace("LIMIT = 100", "LIMIT = 7"))
        apply(
            plan_of(
                {NEW: MOVED},
                tmp_path,
                {OLD: ("src/acme/between.py",), "src/acme/between.py": (NEW,)},
            )
        )
        assert "LIMIT = 7" in (tmp_path / NEW).read_text()


class TestSplit:
    def upgrade(self, root: Path) -> Plan:
        plan = plan_of(PARTS, root, TO_TWO)
        apply(plan)
        assert plan_of(PARTS, root, TO_TWO).is_empty
        return plan

    def test_each_edit_goes_to_the_file_that_has_its_surroundings(self, tmp_path, old):
        old.write_text(
            FIRST.replace("LIMIT = 100", "LIMIT = 7")
            .replace("        take(", "        print(run)\n        take(")
            .replace("GRACE = 30", "GRACE = 31")
            .replace('info("closed")', 'info("closed for good")')
        )
        plan = self.upgrade(tmp_path)
        assert (tmp_path / CLAIM).read_text() == CLAIM_NOW.replace(
            "LIMIT = 100", "LIMIT = 7"
        ).replace("        take(", "        print(run)\n        take(")
        assert (tmp_path / SETTLE).read_text() == SETTLE_NOW.replace(
            "GRACE = 30", "GRACE = 31"
        ).replace('info("closed")', 'info("closed for good")')
        assert (
            change_at(plan, CLAIM).reason
            == "moved from targcc_scheduler/runs.py, your 2 lines kept"
        )
        assert not old.exists()
        assert not (tmp_path / ".targcc/kept").exists()

    def test_an_edit_brings_what_it_needs(self, tmp_path, old):
        old.write_text(
            FIRST.replace(
                "import logging\n", "import logging\nfrom decimal import Decimal\n"
            ).replace("    found = cand", "    logging.debug(Decimal(GRACE))\n    found = cand")
        )
        self.upgrade(tmp_path)
        text = (tmp_path / CLAIM).read_text()
        assert "    logging.debug(Decimal(GRACE))\n    found = cand" in text
        for line in (
            "import logging\n",
            "from decimal import Decimal\n",
            "from .settle import GRACE\n",
        ):
            assert line in text
        assert (tmp_path / SETTLE).read_text() == SETTLE_NOW

    def test_a_new_function_and_a_removed_line_follow(self, tmp_path, old):
        function = "\n\ndef rule(run: int) -> bool:\n    return run > LIMIT\n"
        old.write_text(
            FIRST.replace("\n\ndef candidates", f"{function}\n\ndef candidates").replace(
                '        logging.info("settled %s", run)\n', ""
            )
        )
        self.upgrade(tmp_path)
        assert (tmp_path / CLAIM).read_text() == CLAIM_NOW.replace(
            "\n\ndef candidates", f"{function}\n\ndef candidates"
        )
        assert "settled %s" not in (tmp_path / SETTLE).read_text()

    def test_lines_that_are_indented_further_now(self, tmp_path, old):
        files = {
            CLAIM: CLAIM_NOW.replace(
                "    for run in found:\n        take(run, now)\n",
                "    with lock():\n        for run in found:\n            take(run, now)\n",
            ),
            SETTLE: SETTLE_NOW,
        }
        old.write_text(
            FIRST.replace(
                "        take(run, now)\n", "        take(run, now)\n        print(run)\n"
            )
        )
        apply(plan_of(files, tmp_path, TO_TWO))
        assert (
            "            take(run, now)\n            print(run)\n" in (tmp_path / CLAIM).read_text()
        )

    def test_an_edit_beside_a_call_that_a_person_broke_and_a_release_changed_follows(
        self, tmp_path, old
    ):
        line = "    found = candidates(settings, LIMIT)\n"
        broken = "    found = candidates(\n        settings,\n        LIMIT,\n    )\n"
        old.write_text(FIRST.replace(line, f"{broken}    print(found)\n"))
        new = "    found = candidates(settings, LIMIT, now)\n"
        plan = plan_of({CLAIM: CLAIM_NOW.replace(line, new), SETTLE: SETTLE_NOW}, tmp_path, TO_TWO)
        assert change_at(plan, OLD).left == ()
        apply(plan)
        assert f"{new}    print(found)\n" in (tmp_path / CLAIM).read_text()

    def test_what_cannot_follow_is_kept_and_named(self, tmp_path, old):
        files = {
            CLAIM: CLAIM_NOW.replace("    return len(found)", "    return sum(found)"),
            SETTLE: SETTLE_NOW,
        }
        edited = FIRST.replace("    return len(found)", "    return len(found) + 1").replace(
            "GRACE = 30", "GRACE = 31"
        )
        old.write_text(edited)
        plan = plan_of(files, tmp_path, TO_TWO)
        apply(plan)
        change = change_at(plan, OLD)
        number = edited.splitlines().index("    return len(found) + 1") + 1
        assert [(hunk.first, hunk.last, hunk.mine) for hunk in change.left] == [
            (number, number, "    return len(found) + 1\n")
        ]
        kept = tmp_path / ".targcc/kept" / OLD
        assert change.reason.endswith(
            f"1 line of yours could not follow: see .targcc/kept/{OLD}.diff"
        )
        assert (kept.parent / "runs.py.txt").read_text() == edited
        diff = (kept.parent / "runs.py.diff").read_text()
        assert "+    return len(found) + 1\n" in diff
        assert "GRACE" not in diff.replace(" GRACE = 30", "")
        assert "GRACE = 31" in (tmp_path / SETTLE).read_text()
        assert plan.to_json()["changes"][0]
        assert plan_of(files, tmp_path, TO_TWO).is_empty

    def test_an_edit_that_needs_what_is_gone_cannot_follow(self, tmp_path, old):
        files = {
            CLAIM: CLAIM_NOW,
            SETTLE: SETTLE_NOW.replace("GRACE = 30\n", "").replace("grace=GRACE", "grace=1"),
        }
        old.write_text(FIRST.replace("    found = cand", "    print(GRACE)\n    found = cand"))
        plan = plan_of(files, tmp_path, TO_TWO)
        assert change_at(plan, OLD).left
        assert change_at(plan, CLAIM).action is Action.CREATE

    def test_a_parameter_that_is_called_like_a_module_is_not_imported(self, tmp_path, old):
        files = {CLAIM: CLAIM_NOW.replace("limit: int)", "logging: int)"), SETTLE: SETTLE_NOW}
        before = FIRST.replace("limit: int)", "logging: int)")
        apply(make_plan(tree({OLD: before}), tmp_path))
        old.write_text(
            before.replace('may be taken."""\n', 'may be taken."""\n    print(logging)\n')
        )
        apply(plan_of(files, tmp_path, TO_TWO))
        text = (tmp_path / CLAIM).read_text()
        assert "    print(logging)\n" in text
        assert "import logging" not in text

    def test_an_edit_that_fits_in_two_places_cannot_follow(self, tmp_path, old):
        files = {CLAIM: CLAIM_NOW, SETTLE: SETTLE_NOW + CLAIM_CODE}
        old.write_text(FIRST.replace("        take(", "        print(run)\n        take("))
        assert change_at(plan_of(files, tmp_path, TO_TWO), OLD).left

    def test_a_part_may_stay_where_it_was(self, tmp_path, old):
        stays = FIRST.replace(CLAIM_CODE, "")
        rows, files = {OLD: (OLD, CLAIM)}, {OLD: stays, CLAIM: CLAIM_NOW}
        old.write_text(
            FIRST.replace("        take(", "        print(run)\n        take(").replace(
                "GRACE = 30", "GRACE = 31"
            )
        )
        apply(plan_of(files, tmp_path, rows))
        assert old.read_text() == stays.replace("GRACE = 30", "GRACE = 31")
        assert "        print(run)\n        take(" in (tmp_path / CLAIM).read_text()
        assert plan_of(files, tmp_path, rows).is_empty

    def test_a_part_that_collides_is_kept_aside_by_choice(self, tmp_path, old):
        stays = FIRST.replace(CLAIM_CODE, "").replace('info("closed")', 'info("bye")')
        rows, files = {OLD: (OLD, CLAIM)}, {OLD: stays, CLAIM: CLAIM_NOW}
        old.write_text(
            FIRST.replace("        take(", "        print(run)\n        take(").replace(
                'info("closed")', 'info("closed for good")'
            )
        )
        assert change_at(plan_of(files, tmp_path, rows), OLD).action is Action.CONFLICT
        apply(plan_of(files, tmp_path, rows, sides={".": Side.GENERATED}))
        assert old.read_text() == stays
        assert "        print(run)\n        take(" in (tmp_path / CLAIM).read_text()
        kept = (tmp_path / f".targcc/kept/{OLD}.diff").read_text()
        assert "closed for good" in kept
        assert "print" not in kept

    def test_a_file_that_lost_a_part_takes_the_edits_of_another(self, tmp_path, old):
        """Both files are edited, and a part of one file moves into the other."""
        other = "vendor/targcc-scheduler/targcc_scheduler/other.py"
        extra = "\n\ndef extra() -> int:\n    return GRACE\n"
        apply(make_plan(tree({OLD: FIRST, other: HEADER + extra}), tmp_path))
        stays = FIRST.replace(CLAIM_CODE, "") + extra
        old.write_text(FIRST.replace("        take(", "        print(run)\n        take("))
        (tmp_path / other).write_text((HEADER + extra).replace("return GRACE", "return -GRACE"))
        rows = {other: (OLD,), OLD: (OLD, CLAIM)}
        apply(plan_of({OLD: stays, CLAIM: CLAIM_NOW}, tmp_path, rows))
        assert "return -GRACE" in old.read_text()
        assert "        print(run)\n        take(" in (tmp_path / CLAIM).read_text()


def test_two_files_are_joined_with_the_edits_of_both(tmp_path):
    first_path, second_path = (
        "vendor/targcc-scheduler/targcc_scheduler/one.py",
        "vendor/targcc-scheduler/targcc_scheduler/two.py",
    )
    texts = {
        first_path: HEADER + '"""One."""\n' + CLAIM_CODE,
        second_path: HEADER + '"""Two."""\n' + SETTLE_CODE,
    }
    apply(make_plan(tree(texts), tmp_path))
    (tmp_path / first_path).write_text(
        texts[first_path].replace("        take(", "        print(run)\n        take(")
    )
    (tmp_path / second_path).write_text(
        texts[second_path].replace('info("closed")', 'info("closed for good")')
    )
    joined = HEADER + '"""Both."""\n' + SETTLE_CODE + CLAIM_CODE
    plan = plan_of({NEW: joined}, tmp_path, {first_path: (NEW,), second_path: (NEW,)})
    apply(plan)
    assert (tmp_path / NEW).read_text() == joined.replace(
        "        take(", "        print(run)\n        take("
    ).replace('info("closed")', 'info("closed for good")')
    assert (
        change_at(plan, NEW).reason
        == "moved from targcc_scheduler/one.py and targcc_scheduler/two.py, your 2 lines kept"
    )


def test_a_file_without_a_successor_goes_and_its_edits_are_kept(tmp_path, old):
    edited = FIRST + "MINE = 1\n"
    old.write_text(edited)
    plan = plan_of({}, tmp_path, {OLD: ()})
    apply(plan)
    assert not old.exists()
    assert (tmp_path / f".targcc/kept/{OLD}.txt").read_text() == edited
    assert "+MINE = 1" in (tmp_path / f".targcc/kept/{OLD}.diff").read_text()


def test_the_same_path_may_be_another_file_now(tmp_path, old):
    old.write_text(FIRST)
    plan = plan_of({OLD: "other = 1\n", NEW: MOVED}, tmp_path, {OLD: (NEW,)})
    apply(plan)
    assert old.read_text() == "other = 1\n"


def test_a_page_follows_too(tmp_path):
    page, new_page = (
        "vendor/targcc-scheduler/targcc_scheduler/dashboard/run.html",
        "vendor/targcc-scheduler/targcc_scheduler/web/run.html",
    )
    text = "<h1>Run</h1>\n<p>one</p>\n<p>two</p>\n"
    apply(make_plan(tree({page: text}), tmp_path))
    (tmp_path / page).write_text(text.replace("two", "TWO"))
    apply(plan_of({new_page: text.replace("Run", "A run")}, tmp_path, {page: (new_page,)}))
    assert (tmp_path / new_page).read_text() == "<h1>A run</h1>\n<p>one</p>\n<p>TWO</p>\n"


def test_a_collision_is_written_with_markers_by_choice(tmp_path, old):
    old.write_text(FIRST.replace("GRACE = 30", "GRACE = 31"))
    generated = MOVED.replace("GRACE = 30", "GRACE = 60")
    apply(plan_of({NEW: generated}, tmp_path, TO_ONE, sides={NEW: Side.MARKERS}))
    text = (tmp_path / NEW).read_text()
    assert "<<<<<<<" in text
    assert "GRACE = 31\n=======\nGRACE = 60\n" in text


def test_a_file_with_conflict_markers_is_in_the_way(tmp_path, old):
    marked = "<<<<<<< mine\nGRACE = 31\n=======\nGRACE = 60\n>>>>>>> generated\n"
    old.write_text(FIRST.replace("GRACE = 30\n", marked))
    change = change_at(plan_of({NEW: MOVED}, tmp_path, TO_ONE), OLD)
    assert (change.action, change.reason) == (Action.CONFLICT, "it still has conflict markers")
    assert not change.settleable
    assert change.before == old.read_bytes()


def test_a_binary_edit_cannot_follow(tmp_path, old):
    old.write_bytes(b"a\0b\n")
    change = change_at(plan_of({NEW: MOVED}, tmp_path, TO_ONE), OLD)
    assert change.action is Action.DELETE
    assert change.reason.endswith(f"; 1 line of yours could not follow: see .targcc/kept/{OLD}.txt")


@pytest.mark.parametrize(("lines", "words"), [(1, "1 line"), (3, "3 lines")])
def test_lines_that_cannot_follow_are_counted(tmp_path, old, lines, words):
    own = "".join(f"mine_{number} = {number}\n" for number in range(lines))
    old.write_text(FIRST.replace("GRACE = 30\n", f"GRACE = 30\n{own}"))
    reason = change_at(plan_of({}, tmp_path, {OLD: ()}), OLD).reason
    assert f"{words} of yours could not follow" in reason


@pytest.mark.parametrize(
    ("renames", "files", "actions"),
    [
        (TO_ONE, {NEW: MOVED}, {Action.KEEP}),
        (TO_TWO, PARTS, {Action.CREATE}),
    ],
)
def test_a_deleted_file_stays_deleted_but_not_its_parts(tmp_path, old, renames, files, actions):
    old.unlink()
    plan = plan_of(files, tmp_path, renames)
    assert {change_at(plan, path).action for path in files} == actions


@pytest.mark.parametrize("text", [FIRST, FIRST.replace("GRACE = 30", "GRACE = 31")])
def test_an_ejected_file_of_the_former_folder_is_ejected_in_the_new_one(tmp_path, text):
    former = "src/acme/scheduler/storage/runs.py"
    apply(make_plan(tree({former: FIRST}), tmp_path))
    apply(plan_eject(tmp_path, [former]))
    (tmp_path / former).write_text(text)
    renames = Renames({}, "src/acme/scheduler/")
    plan = make_plan(tree({NEW: MOVED}), tmp_path, renames=renames)
    assert change_at(plan, former).reason == "moved to targcc_scheduler/storage/runs.py; it is ejected there too"  # fmt: skip
    apply(plan)
    assert (tmp_path / NEW).read_text() == text
    assert not (tmp_path / former).exists()
    assert make_plan(tree({NEW: FIRST}), tmp_path, renames=renames).is_empty
