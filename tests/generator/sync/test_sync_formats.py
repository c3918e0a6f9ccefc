"""A person's formatter causes no conflict, and generated lines match the style of the file."""

import subprocess
from pathlib import Path

import black
import pytest
from ruff import find_ruff_bin
from targcc_gen.render.tree import Layout
from targcc_gen.sync import Action, Change, Owner, Tree, TreeFile, apply, make_plan
from targcc_gen.sync.merge_python import is_same_module
from targcc_gen.sync.renames.table import Renames

PATH = "src/acme/runs.py"
RUFF = Path(find_ruff_bin())

BASE = '''"""Runs."""

from .tables import runs, servers
from .settings import Settings


def claim(settings: Settings, queue: str, *, limit: int, server: str, priority: int) -> list[int]:
    """Take runs."""
    found = runs.select(queue=queue, limit=limit, server=servers.get(server), priority=priority)
    servers.seen(server)
    return sorted(found)


def settle(run: int, *, state: str, message: str, duration: float, server: str | None = None) -> None:
    """End one."""
    runs.update(run, state=state, message=message, duration=duration, server=server or settings)
'''
NEXT = BASE.replace(
    "server: str, priority: int) -> list[int]", "server: str, least_priority: int) -> list[int]"
).replace("priority=priority)", "priority=least_priority)")


def formatted(length: int, source: str, **options: bool) -> str:
    mode = black.Mode(line_length=length, target_versions={black.TargetVersion.PY311}, **options)
    return black.format_str(source, mode=mode)


def ruff(source: str, *arguments: str) -> str:
    command = [str(RUFF), *arguments, "--no-cache", "--isolated", "--stdin-filename", PATH, "-"]
    done = subprocess.run(command, input=source.encode(), capture_output=True, check=False)
    assert done.stdout, done.stderr
    return done.stdout.decode()


FORMATTERS = {
    "black -l 88": lambda source: formatted(88, source),
    "black -l 100": lambda source: formatted(100, source),
    "black -l 79 -C": lambda source: formatted(79, source, magic_trailing_comma=False),
    "ruff format": lambda source: ruff(source, "format"),
    "ruff check --fix": lambda source: ruff(source, "check", "--fix-only", "--select", "ALL"),
    "both": lambda source: formatted(88, ruff(source, "check", "--fix-only", "--select", "ALL")),
}


def tree(text: str, path: str = PATH) -> Tree:
    return Tree.of([TreeFile(path, text.encode(), Owner.MANAGED)], layout=Layout("src/acme"))


@pytest.fixture
def module(tmp_path):
    apply(make_plan(tree(BASE), tmp_path))
    return tmp_path / PATH


@pytest.fixture
def no_ruff(monkeypatch):
    """Leave black, which needs no process."""
    monkeypatch.setenv("PATH", "")


@pytest.fixture(params=FORMATTERS.values(), ids=FORMATTERS)
def formatter(request):
    return request.param


def upgraded(root: Path, text: str = NEXT) -> Change:
    plan = make_plan(tree(text), root)
    apply(plan)
    assert make_plan(tree(text), root).is_empty
    (change,) = plan.changes
    return change


@pytest.mark.usefixtures("processes")
def test_a_file_that_was_only_formatted_is_updated(tmp_path, module, formatter):
    module.write_text(formatter(BASE))
    assert upgraded(tmp_path).action is Action.UPDATE
    assert is_same_module(NEXT.encode(), module.read_bytes())


@pytest.mark.usefixtures("processes")
def test_edits_in_a_formatted_file_are_kept(tmp_path, module, formatter):
    edited = BASE.replace("    return sorted(found)", "    return sorted(found, reverse=True)")
    module.write_text(formatter(edited))
    assert upgraded(tmp_path).action is Action.MERGE
    wanted = NEXT.replace("    return sorted(found)", "    return sorted(found, reverse=True)")
    assert is_same_module(wanted.encode(), module.read_bytes())


@pytest.mark.usefixtures("no_ruff")
@pytest.mark.parametrize("length", [88, 79, 120])
def test_the_new_text_is_written_as_black_writes_the_persons(tmp_path, module, length):
    if length != 88:
        (tmp_path / "pyproject.toml").write_text(f"[tool.black]\nline-length = {length}\n")
    edited = BASE.replace("    return sorted(found)", "    return sorted(found, reverse=True)")
    module.write_text(formatted(length, edited))
    upgraded(tmp_path)
    text = module.read_text()
    assert text == formatted(length, text)
    assert "least_priority" in text


@pytest.mark.usefixtures("no_ruff")
def test_the_projects_own_settings_count(tmp_path, module):
    (tmp_path / "pyproject.toml").write_text("[tool.black]\nline-length = 60\n")
    module.write_text(formatted(60, BASE))
    upgraded(tmp_path)
    assert module.read_text() == formatted(60, NEXT)


@pytest.mark.usefixtures("processes")
def test_ruffs_fixes_by_the_projects_own_rules_come_too(tmp_path, module, monkeypatch):
    monkeypatch.setenv("PATH", str(RUFF.parent))
    (tmp_path / "pyproject.toml").write_text("[tool.ruff.lint]\nselect = ['I', 'COM']\n")
    command = [str(RUFF), "check", "--fix-only", "--quiet", "--no-cache", str(module)]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert module.read_text() != BASE
    upgraded(tmp_path)
    merged = module.read_text()
    subprocess.run(command, cwd=tmp_path, check=True)
    assert module.read_text() == merged
    assert "least_priority" in merged
    assert not (tmp_path / ".ruff_cache").exists()


@pytest.mark.usefixtures("processes")
def test_a_project_needs_no_ruff(tmp_path, module, monkeypatch):
    monkeypatch.setenv("PATH", "")
    module.write_text(ruff(BASE, "check", "--fix-only", "--select", "ALL"))
    assert upgraded(tmp_path).action is Action.UPDATE


@pytest.mark.usefixtures("no_ruff")
def test_definitions_without_news_stay_as_the_person_has_them(tmp_path, module):
    edited = (
        BASE.replace("    return sorted(found)", "    return sorted(found, reverse = True)")
        .replace(
            "def claim(settings: Settings, queue: str, *, limit: int, server: str, priority: int)",
            "def claim(\n    settings: Settings, queue: str,\n    *, limit: int, server: str, priority: int\n)",
        )
        .replace("runs.update(run, state=state,", "runs.update(run,\n        state=state,")
    )
    module.write_text(edited)
    upgraded(tmp_path)
    text = module.read_text()
    assert "runs.update(run,\n        state=state," in text
    assert "reverse=True" in text.replace(" = ", "=")
    assert "least_priority" in text


def test_a_comment_is_an_edit(tmp_path, module):
    module.write_text(
        BASE.replace("    return sorted(found)", "    # the oldest first\n    return sorted(found)")
    )
    assert upgraded(tmp_path).action is Action.MERGE
    assert "    # the oldest first\n" in module.read_text()


@pytest.mark.usefixtures("processes")
def test_a_real_collision_is_a_conflict_all_the_same(tmp_path, module):
    module.write_text(formatted(88, BASE.replace("priority: int", "rank: int")))
    (change,) = make_plan(tree(NEXT), tmp_path).changes
    assert change.action is Action.CONFLICT
    assert any("rank: int" in collision.mine for collision in change.collisions)


@pytest.mark.usefixtures("processes")
def test_a_formatted_file_that_left_the_spec_goes(tmp_path, module, formatter):
    module.write_text(formatter(BASE))
    apply(make_plan(Tree.of([]), tmp_path))
    assert not module.exists()


class TestMoved:
    NEW = "src/acme/storage/runs.py"

    def upgraded(self, root: Path) -> str:
        text = NEXT.replace("from .", "from ..")
        plan = make_plan(tree(text, self.NEW), root, renames=Renames({PATH: (self.NEW,)}))
        apply(plan)
        assert not plan.conflicts
        return (root / self.NEW).read_text()

    @pytest.mark.usefixtures("processes")
    def test_a_formatted_file_moves_in_its_format(self, tmp_path, module):
        module.write_text(formatted(88, BASE))
        assert self.upgraded(tmp_path) == formatted(88, NEXT.replace("from .", "from .."))
        assert not module.exists()

    @pytest.mark.usefixtures("processes")
    def test_edits_move_too(self, tmp_path, module, formatter):
        edited = BASE.replace("    return sorted(found)", "    return sorted(found, reverse=True)")
        module.write_text(formatter(edited))
        text = self.upgraded(tmp_path)
        assert "reverse=True" in text
        assert "least_priority" in text
        assert not (tmp_path / ".targcc/kept").exists()
