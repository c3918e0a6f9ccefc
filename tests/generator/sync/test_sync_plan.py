"""Planned action for each file when a project is regenerated."""

from pathlib import Path

import pytest
from targcc_gen.errors import ConflictError, InputError
from targcc_gen.sync import (
    Action,
    Change,
    Owner,
    Plan,
    Side,
    Tree,
    TreeFile,
    apply,
    make_plan,
    plan_eject,
)

HEADER = (
    "# Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours\n"
)
FIRST = HEADER + "a = 1\nb = 2\nc = 3\nd = 4\ne = 5\n"
SECOND = FIRST.replace("e = 5", "e = 50")


def managed(text: str, path: str = "pkg/module.py") -> Tree:
    return Tree.of([TreeFile(path, text.encode(), Owner.MANAGED)])


def scaffold(text: str, path: str = "README.md") -> Tree:
    return Tree.of([TreeFile(path, text.encode(), Owner.SCAFFOLD)])


def generate(tree: Tree, root: Path, sides: dict[str, Side] | None = None) -> Plan:
    plan = make_plan(tree, root, sides=sides)
    apply(plan)
    return plan


def only(plan: Plan) -> Change:
    (change,) = plan.changes
    return change


@pytest.fixture
def module(tmp_path):
    """Generate a managed file and return its path."""
    generate(managed(FIRST), tmp_path)
    return tmp_path / "pkg" / "module.py"


def test_a_new_file_is_created_with_its_folders(tmp_path):
    plan = generate(managed(FIRST), tmp_path / "new" / "project")
    assert only(plan).action is Action.CREATE
    assert (tmp_path / "new/project/pkg/module.py").read_text() == FIRST


@pytest.mark.usefixtures("module")
def test_the_second_run_has_nothing_to_do(tmp_path):
    plan = make_plan(managed(FIRST), tmp_path)
    assert plan.is_empty
    assert only(plan).action is Action.UNCHANGED


def test_an_unedited_file_is_updated(tmp_path, module):
    assert only(generate(managed(SECOND), tmp_path)).action is Action.UPDATE
    assert module.read_text() == SECOND


def test_edits_elsewhere_in_the_file_are_merged(tmp_path, module):
    module.write_text(FIRST.replace("a = 1", "a = 100\nmine = True"))
    change = only(generate(managed(SECOND), tmp_path))
    assert (change.action, change.reason) == (Action.MERGE, "your 2 lines kept")
    assert module.read_text() == SECOND.replace("a = 1", "a = 100\nmine = True")


def test_merged_edits_are_kept_by_the_run_after(tmp_path, module):
    module.write_text(FIRST.replace("a = 1", "a = 100"))
    generate(managed(SECOND), tmp_path)
    assert make_plan(managed(SECOND), tmp_path).is_empty
    third = SECOND.replace("c = 3", "c = 30")
    generate(managed(third), tmp_path)
    assert module.read_text() == third.replace("a = 1", "a = 100")


def test_an_edited_file_stays_while_the_generator_writes_the_same(tmp_path, module):
    module.write_text(FIRST + "mine = True\n")
    change = only(make_plan(managed(FIRST), tmp_path))
    assert (change.action, change.reason) == (Action.UNCHANGED, "your edits stand")


def test_a_change_that_the_person_made_already_is_none(tmp_path, module):
    module.write_text(SECOND)
    assert only(make_plan(managed(SECOND), tmp_path)).action is Action.UNCHANGED


class TestConflict:
    MINE = FIRST.replace("e = 5", "e = 7")

    @pytest.fixture(autouse=True)
    def edited(self, module):
        module.write_text(self.MINE)

    def test_nothing_is_written(self, tmp_path):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        plan = make_plan(managed(SECOND), tmp_path)
        with pytest.raises(ConflictError):
            apply(plan)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    def test_it_says_where_and_what(self, tmp_path):
        (collision,) = only(make_plan(managed(SECOND), tmp_path)).collisions
        assert (collision.first, collision.last) == (6, 6)
        assert (collision.mine, collision.generated) == ("e = 7\n", "e = 50\n")

    def test_generated_takes_the_generators_text_and_keeps_other_edits(self, tmp_path, module):
        module.write_text(self.MINE.replace("a = 1", "a = 100"))
        generate(managed(SECOND), tmp_path, {"pkg/module.py": Side.GENERATED})
        assert module.read_text() == SECOND.replace("a = 1", "a = 100")

    def test_mine_keeps_the_persons_text_for_good(self, tmp_path, module):
        generate(managed(SECOND), tmp_path, {"pkg": Side.MINE})
        assert module.read_text() == self.MINE
        assert make_plan(managed(SECOND), tmp_path).is_empty

    def test_markers_are_written_and_stay_a_conflict_until_edited(self, tmp_path, module):
        plan = generate(managed(SECOND), tmp_path, {".": Side.MARKERS})
        assert plan.conflicts
        assert "<<<<<<< mine\ne = 7\n=======\ne = 50\n>>>>>>> generated\n" in module.read_text()
        assert make_plan(managed(SECOND), tmp_path).conflicts
        module.write_text(SECOND.replace("e = 50", "e = 57"))
        assert make_plan(managed(SECOND), tmp_path).is_empty


def test_a_merge_that_breaks_python_is_a_conflict(tmp_path):
    base = "def f():\n    return 1\n\n\n# one\n\n\nx = 1\n"
    generate(managed(base), tmp_path)
    path = tmp_path / "pkg/module.py"
    path.write_text(base.replace("return 1", "return (1,").replace("# one", "2)\n# one"))
    plan = make_plan(
        managed(base.replace("# one", "# one\n2 = 3").replace("x = 1", "x = 2")), tmp_path
    )
    assert plan.conflicts


def test_a_deleted_file_stays_deleted_until_restore(tmp_path, module):
    module.unlink()
    change = only(generate(managed(SECOND), tmp_path))
    assert change.action is Action.KEEP
    assert not module.exists()
    apply(make_plan(managed(SECOND), tmp_path, restore=["pkg/module.py"]))
    assert module.read_text() == SECOND


def test_restore_does_not_drop_edits_unasked(tmp_path, module):
    module.write_text(FIRST + "mine = True\n")
    assert make_plan(managed(FIRST), tmp_path, restore=["pkg/module.py"]).conflicts


def test_an_unedited_file_that_left_the_spec_is_deleted_with_its_empty_folder(tmp_path, module):
    assert only(generate(Tree.of([]), tmp_path)).action is Action.DELETE
    assert not module.parent.exists()


def test_an_edited_file_that_left_the_spec_is_kept_and_reported(tmp_path, module):
    module.write_text(FIRST + "mine = True\n")
    change = only(generate(Tree.of([]), tmp_path))
    assert change.action is Action.KEEP
    assert "you edited it" in change.reason
    plan = make_plan(Tree.of([]), tmp_path)
    assert plan.is_empty
    assert only(plan).action is Action.KEEP
    module.unlink()
    generate(Tree.of([]), tmp_path)
    assert make_plan(Tree.of([]), tmp_path).changes == ()


def test_an_incomplete_tree_leaves_all_else_alone(tmp_path, module):
    more = Tree.of([TreeFile("other.py", b"x = 1\n", Owner.MANAGED)], complete=False)
    assert only(generate(more, tmp_path)).path == "other.py"
    gone = Tree.of([], complete=False, removed=["other.py"])
    assert only(generate(gone, tmp_path)).action is Action.DELETE
    assert module.exists()


def test_a_scaffold_file_is_written_once(tmp_path):
    generate(scaffold("one\n"), tmp_path)
    assert make_plan(scaffold("two\n"), tmp_path).is_empty
    (tmp_path / "README.md").unlink()
    assert only(generate(scaffold("two\n"), tmp_path)).action is Action.KEEP
    assert not (tmp_path / "README.md").exists()


def test_a_file_that_was_there_before_is_in_the_way(tmp_path):
    (tmp_path / "README.md").write_text("mine\n")
    plan = make_plan(scaffold("generated\n"), tmp_path)
    assert only(plan).action is Action.CONFLICT
    with pytest.raises(ConflictError):
        apply(plan)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_file_that_was_there_before_and_is_the_same_is_taken_over(tmp_path):
    (tmp_path / "README.md").write_text("generated\n")
    assert only(generate(scaffold("generated\n"), tmp_path)).action is Action.UNCHANGED


def test_ejected_files_are_never_touched_again(tmp_path, module):
    apply(plan_eject(tmp_path, ["pkg/module.py"]))
    assert module.read_text() == FIRST.removeprefix(HEADER)
    change = only(make_plan(managed(SECOND), tmp_path))
    assert (change.action, change.reason) == (Action.KEEP, "ejected")
    assert make_plan(managed(SECOND), tmp_path).is_empty


def test_only_managed_files_can_be_ejected(tmp_path):
    generate(scaffold("one\n"), tmp_path)
    with pytest.raises(InputError, match="is yours already"):
        plan_eject(tmp_path, ["README.md"])
    with pytest.raises(InputError, match="no file that targcc-gen made"):
        plan_eject(tmp_path, ["other.md"])


class TestLineEnds:
    def test_crlf_files_merge_and_keep_their_line_ends(self, tmp_path, module):
        module.write_bytes(FIRST.replace("a = 1", "a = 100").replace("\n", "\r\n").encode())
        generate(managed(SECOND), tmp_path)
        wanted = SECOND.replace("a = 1", "a = 100").replace("\n", "\r\n")
        assert module.read_bytes() == wanted.encode()

    def test_an_unedited_crlf_checkout_has_nothing_to_do(self, tmp_path, module):
        module.write_bytes(FIRST.replace("\n", "\r\n").encode())
        assert make_plan(managed(FIRST), tmp_path).is_empty

    def test_a_byte_order_mark_is_kept(self, tmp_path, module):
        module.write_bytes(b"\xef\xbb\xbf" + FIRST.encode())
        generate(managed(SECOND), tmp_path)
        assert module.read_bytes() == b"\xef\xbb\xbf" + SECOND.encode()

    def test_a_missing_last_line_end_glues_nothing(self, tmp_path, module):
        module.write_text(FIRST.replace("a = 1", "a = 100").removesuffix("\n"))
        generate(managed(FIRST + "f = 6\n"), tmp_path)
        assert module.read_text() == FIRST.replace("a = 1", "a = 100") + "f = 6\n"


def test_an_edited_binary_file_is_a_whole_conflict(tmp_path):
    path = "logo.png"
    generate(Tree.of([TreeFile(path, b"\0one", Owner.MANAGED)]), tmp_path)
    (tmp_path / path).write_bytes(b"\0mine")
    tree = Tree.of([TreeFile(path, b"\0two", Owner.MANAGED)])
    assert make_plan(tree, tmp_path).conflicts
    generate(tree, tmp_path, {path: Side.GENERATED})
    assert (tmp_path / path).read_bytes() == b"\0two"


def test_a_computed_edit_is_written_whatever_the_owner(tmp_path):
    generate(scaffold("jobs:\n", "targcc.yaml"), tmp_path)
    edit = TreeFile("targcc.yaml", b"jobs:\n  A: {}\n", Owner.SCAFFOLD, replaces=b"jobs:\n")
    plan = generate(Tree.of([edit], complete=False), tmp_path)
    assert only(plan).lines == (1, 0)
    assert (tmp_path / "targcc.yaml").read_bytes() == edit.content


def test_a_computed_edit_of_another_text_is_refused(tmp_path):
    (tmp_path / "app.py").write_text("newer\n")
    edit = TreeFile("app.py", b"patched\n", Owner.PATCHED, replaces=b"older\n")
    assert make_plan(Tree.of([edit], complete=False), tmp_path).conflicts


def test_patched_files_outlive_a_regeneration(tmp_path):
    (tmp_path / "app.py").write_text("old\n")
    edit = TreeFile("app.py", b"patched\n", Owner.PATCHED, replaces=b"old\n")
    generate(Tree.of([edit], complete=False), tmp_path)
    generate(managed(FIRST), tmp_path)
    assert (tmp_path / "app.py").read_text() == "patched\n"
    assert "app.py" in make_plan(managed(FIRST), tmp_path).lock.entries


class TestInTheWay:
    def test_a_link(self, tmp_path):
        (tmp_path / "pkg").mkdir()
        (tmp_path / "elsewhere.py").write_text(FIRST)
        (tmp_path / "pkg/module.py").symlink_to(tmp_path / "elsewhere.py")
        change = only(make_plan(managed(SECOND), tmp_path))
        assert (change.action, change.reason) == (Action.CONFLICT, "it is a link")

    def test_a_linked_folder(self, tmp_path):
        root, outside = tmp_path / "root", tmp_path / "outside"
        root.mkdir()
        outside.mkdir()
        (root / "pkg").symlink_to(outside)
        assert "link to another place" in only(make_plan(managed(FIRST), root)).reason

    def test_a_folder(self, tmp_path):
        (tmp_path / "pkg/module.py").mkdir(parents=True)
        assert only(make_plan(managed(FIRST), tmp_path)).reason == "it is a folder"

    def test_a_file_where_a_folder_should_be(self, tmp_path):
        (tmp_path / "pkg").write_text("")
        assert "is a file, not a folder" in only(make_plan(managed(FIRST), tmp_path)).reason

    def test_the_same_name_in_another_case(self, tmp_path):
        (tmp_path / "pkg").mkdir()
        (tmp_path / "pkg/Module.py").write_text("")
        assert "same name on some systems" in only(make_plan(managed(FIRST), tmp_path)).reason

    def test_a_read_only_file(self, tmp_path, module):
        module.chmod(0o444)
        change = only(make_plan(managed(SECOND), tmp_path))
        assert (change.action, change.reason) == (Action.CONFLICT, "it is read-only")
        assert not change.settleable


def test_a_project_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file, not a folder"):
        make_plan(managed(FIRST), tmp_path / "file")


def test_executable_files_are_and_modes_stay(tmp_path):
    path = "run.sh"
    tree = Tree.of([TreeFile(path, b"#!/bin/sh\n", Owner.MANAGED, executable=True)])
    generate(tree, tmp_path)
    assert (tmp_path / path).stat().st_mode & 0o111
    (tmp_path / path).chmod(0o640)
    generate(Tree.of([TreeFile(path, b"#!/bin/bash\n", Owner.MANAGED, executable=True)]), tmp_path)
    assert (tmp_path / path).stat().st_mode & 0o777 == 0o640
