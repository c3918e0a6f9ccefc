"""Files written once still follow the generator, unless people changed the same lines: dependencies, containers, tool settings."""

import json
from pathlib import Path

import pytest
from targcc_gen.sync import (
    Action,
    Change,
    Lock,
    LockEntry,
    Owner,
    Plan,
    Side,
    Tree,
    TreeFile,
    apply,
    make_plan,
)

PATH = "compose.yaml"
FIRST = "[project]\nname = 'acme'\ndependencies = [\n  'alembic>=1',\n  'click>=8',\n]\n\n[tool.black]\nline-length = 100\n"
SECOND = FIRST.replace("click>=8", "click>=9")


def tree(text: str) -> Tree:
    return Tree.of([TreeFile(PATH, text.encode(), Owner.SCAFFOLD, inherited=True)])


def generate(root: Path, text: str, **options) -> Plan:
    plan = make_plan(tree(text), root, **options)
    apply(plan)
    assert make_plan(tree(text), root).is_empty
    return plan


def change_at(plan: Plan, path: str = PATH) -> Change:
    (change,) = (candidate for candidate in plan.changes if candidate.path == path)
    return change


@pytest.fixture
def file(tmp_path):
    generate(tmp_path, FIRST)
    return tmp_path / PATH


def made_by_0_1(root: Path) -> None:
    """Write the lock as release 0.1 did, without the text of people's files."""
    entry = LockEntry.of(PATH, Owner.SCAFFOLD, FIRST.encode(), keep_base=False)
    (root / ".targcc/lock.jsonl").write_text(Lock({PATH: entry}).dump())


def test_an_untouched_file_is_updated(tmp_path, file):
    assert change_at(generate(tmp_path, SECOND)).action is Action.UPDATE
    assert file.read_text() == SECOND


def test_edits_elsewhere_are_kept(tmp_path, file):
    edited = FIRST.replace("line-length = 100", "line-length = 88")
    file.write_text(edited)
    change = change_at(generate(tmp_path, SECOND))
    assert (change.action, change.reason) == (Action.MERGE, "your line kept")
    assert file.read_text() == SECOND.replace("line-length = 100", "line-length = 88")


class TestNote:
    MINE = FIRST.replace("click>=8", "click==8.1")

    @pytest.fixture(autouse=True)
    def edited(self, file):
        file.write_text(self.MINE)

    def test_where_both_changed_a_line_the_person_is_told_and_nothing_is_blocked(
        self, tmp_path, file
    ):
        change = change_at(generate(tmp_path, SECOND))
        assert change.action is Action.KEEP
        assert change.reason == "yours; add by hand what is new: .targcc/kept/compose.yaml.diff"
        assert file.read_text() == self.MINE
        diff = (tmp_path / ".targcc/kept/compose.yaml.diff").read_text()
        assert "-  'click>=8',\n+  'click>=9',\n" in diff

    def test_the_plan_shows_it(self, tmp_path):
        plan = make_plan(tree(SECOND), tmp_path)
        assert plan.diff().count("+  'click>=9',") == 1
        (data,) = (item for item in plan.to_json()["changes"] if item["path"] == PATH)
        assert "+  'click>=9'," in data["note"]
        json.dumps(data)

    def test_a_second_note_does_not_drop_the_first(self, tmp_path):
        generate(tmp_path, SECOND)
        generate(tmp_path, SECOND.replace("click>=9", "click>=10"))
        kept = sorted(path.name for path in (tmp_path / ".targcc/kept").iterdir())
        assert kept == ["compose.yaml.2.diff", "compose.yaml.diff"]

    @pytest.mark.parametrize("side", list(Side))
    def test_choosing_a_side_changes_nothing_about_it(self, tmp_path, file, side):
        generate(tmp_path, SECOND, sides={".": side})
        assert file.read_text() == self.MINE

    def test_without_the_older_text_the_difference_to_the_persons_is_shown(self, tmp_path, file):
        made_by_0_1(tmp_path)
        change = change_at(generate(tmp_path, SECOND))
        assert change.action is Action.KEEP
        assert "-  'click==8.1',\n+  'click>=9',\n" in change.note
        assert file.read_text() == self.MINE


def test_an_untouched_file_of_an_older_project_is_updated_too(tmp_path, file):
    made_by_0_1(tmp_path)
    assert change_at(generate(tmp_path, SECOND)).action is Action.UPDATE
    assert file.read_text() == SECOND


def test_the_text_of_an_earlier_release_is_merged_against(tmp_path, file):
    made_by_0_1(tmp_path)
    edited = FIRST.replace("line-length = 100", "line-length = 88")
    file.write_text(edited)
    known = TreeFile(
        PATH, SECOND.encode(), Owner.SCAFFOLD, inherited=True, earlier=(b"other", FIRST.encode())
    )
    plan = make_plan(Tree.of([known]), tmp_path)
    assert change_at(plan).action is Action.MERGE
    apply(plan)
    assert file.read_text() == SECOND.replace("line-length = 100", "line-length = 88")


def test_an_older_project_keeps_the_text_from_now_on(tmp_path, file):
    made_by_0_1(tmp_path)
    file.write_text(FIRST.replace("line-length = 100", "line-length = 88"))
    generate(tmp_path, FIRST)
    assert change_at(generate(tmp_path, SECOND)).action is Action.MERGE


def test_a_read_only_file_blocks_nothing(tmp_path, file):
    file.chmod(0o444)
    assert change_at(generate(tmp_path, SECOND)).action is Action.KEEP
    assert file.read_text() == FIRST


def test_a_deleted_file_stays_deleted(tmp_path, file):
    file.unlink()
    generate(tmp_path, SECOND)
    assert not file.exists()


class TestPyproject:
    PYPROJECT = "pyproject.toml"
    OLDER = "[project]\ndependencies = [\n  'alembic>=1',\n  'click>=8',\n]\n"
    NEWER = OLDER.replace("click>=8", "click>=9").replace("alembic>=1", "alembic>=2")
    MINE = OLDER.replace("click>=8", "click==8.1")

    def tree(self, text: str, earlier: str | None = None) -> Tree:
        texts = () if earlier is None else (earlier.encode(),)
        return Tree.of(
            [TreeFile(self.PYPROJECT, text.encode(), Owner.SCAFFOLD, inherited=True, earlier=texts)]
        )

    def made(self, root: Path, *, keep_base: bool, version: str = "0.1.0") -> Path:
        """Create a project with a lock of an earlier version, edited since."""
        entry = LockEntry.of(
            self.PYPROJECT, Owner.SCAFFOLD, self.OLDER.encode(), keep_base=keep_base
        )
        apply(make_plan(self.tree(self.OLDER), root))
        lock = Lock({self.PYPROJECT: entry}, version).dump()
        (root / ".targcc/lock.jsonl").write_text(lock)
        file = root / self.PYPROJECT
        file.write_text(self.MINE)
        return file

    @pytest.mark.parametrize("keep_base", [True, False])
    def test_it_follows_by_requirement_and_says_what_to_change(self, tmp_path, keep_base):
        file = self.made(tmp_path, keep_base=keep_base)
        plan = make_plan(self.tree(self.NEWER, self.OLDER), tmp_path)
        change = change_at(plan, self.PYPROJECT)
        assert change.action is Action.MERGE
        assert change.reason.endswith("add by hand what is new: .targcc/kept/pyproject.toml.diff")
        assert "-  'click==8.1',\n+  'click>=9',\n" in change.note
        apply(plan)
        assert file.read_text() == self.MINE.replace("alembic>=1", "alembic>=2")
        assert make_plan(self.tree(self.NEWER, self.OLDER), tmp_path).is_empty

    def test_a_version_between_two_releases_counts_as_the_release(self, tmp_path):
        file = self.made(tmp_path, keep_base=False)
        release = self.OLDER.replace("'alembic>=1'", "'alembic>=1', 'psutil>=7'")
        apply(make_plan(self.tree(f"{self.NEWER}# new\n", release), tmp_path))
        assert "alembic>=2" in file.read_text()
