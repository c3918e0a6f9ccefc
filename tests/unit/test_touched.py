"""`--touched` in a small repository: which test files a change selects."""

import shutil
import subprocess
import sys
from pathlib import Path

import import_graph
import pytest
import touched

FILES = {
    ".gitignore": "__pycache__/\n",
    "generator/targcc_gen/__init__.py": "",
    "generator/targcc_gen/names.py": "",
    "generator/targcc_gen/spec.py": "def read():\n    from . import names\n",
    "generator/targcc_gen/assets.py": "",
    "generator/targcc_gen/render/__init__.py": "from ..assets import names\n",
    "templates/scheduler/targcc_scheduler/__init__.py": "_HOMES = {'settings': ('Settings',)}\n",
    "templates/scheduler/targcc_scheduler/settings.py": "",
    "templates/scheduler/targcc_scheduler/cron.py": "",
    "templates/scheduler/targcc_scheduler/kernel/feature.py": "",
    "templates/scheduler/targcc_scheduler/node.py": "from .kernel import feature\n",
    "tests/conftest.py": "pytest_plugins = ['touched']\n\ndef processes(): ...\n",
    "tests/test_plain.py": "def test_plain(): ...\n",
    "tests/generator/test_spec.py": "from targcc_gen.spec import read\n\ndef test_spec(): ...\n",
    "tests/generator/test_render.py": "import targcc_gen.render\n",
    "tests/generator/cli/test_command.py": "def test_command(processes): ...\n",
    "tests/scheduler/conftest.py": "from rig import settings\n\ndef node(settings): ...\n",
    "tests/scheduler/rig.py": "from targcc_scheduler import Settings\n\ndef settings(): ...\n",
    "tests/scheduler/test_cron.py": "from targcc_scheduler import cron\n",
    "tests/scheduler/test_fixture.py": "def test_fixture(node): ...\n",
    "tests/scheduler/test_node.py": "from targcc_scheduler.node import Node\n",
    "tests/unit/test_docs.py": "PAGE = 'docs/cron.md'\n",
}
CHANGES = {
    "generator/targcc_gen/names.py": "spec command",
    "generator/targcc_gen/spec.py": "spec command",
    "templates/project/Dockerfile.jinja": "render command",
    "templates/scheduler/targcc_scheduler/settings.py": "fixture node",
    "templates/scheduler/targcc_scheduler/cron.py": "cron node",
    "templates/scheduler/targcc_scheduler/kernel/words.po": "node",
    "tests/scheduler/rig.py": "fixture",
    "tests/scheduler/conftest.py": "cron fixture node",
    "tests/scheduler/rows.json": "cron fixture node",
    "tests/generator/cli/test_command.py": "command",
    "tests/generator/test_new.py": "",
    "docs/cron.md": "docs",
    "LICENSE": "",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def test_a_changed_file_selects_the_tests_that_depend_on_it_and_no_others(repository):
    for path, names in CHANGES.items():
        tests = touched.touched_tests(repository, {path})
        stems = {Path(test).stem.removeprefix("test_") for test in tests}
        assert stems == set(names.split()), path


def test_a_new_test_file_and_a_change_of_everything(repository):
    new = "tests/generator/test_new.py"
    (repository / new).write_text("def test_new(): ...\n", encoding="utf-8")
    assert touched.touched_tests(repository, {new}) == [new]
    assert len(touched.touched_tests(repository, {"uv.lock"})) == 9
    assert touched.touched_tests(repository, set()) == []


@pytest.mark.usefixtures("processes")
def test_the_command_runs_what_a_branch_and_its_working_tree_touch(repository):
    for module in (touched, import_graph):
        shutil.copy(module.__file__, repository / "tests")

    def git(*words: str) -> None:
        author = ("-c", "user.name=A", "-c", "user.email=a@example.com")
        subprocess.run(["git", *author, *words], cwd=repository, check=True, capture_output=True)

    def pytest_touched(*words: str) -> tuple[int, str]:
        options = ["-o", "pythonpath=tests tests/scheduler generator", "-o", "asyncio_default_fixture_loop_scope=function"]  # fmt: skip
        command = [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", *options]
        done = subprocess.run(
            [*command, "--touched", *words],
            cwd=repository,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    git("init", "-b", "main")
    git("add", ".")
    git("commit", "-m", "All")
    code, output = pytest_touched()
    assert (code, output) == (0, "touched: 0 files differ from main: nothing to run\n")
    code, output = pytest_touched("--base", "nowhere")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "--base origin/main" in output

    git("checkout", "-b", "change")
    (repository / "generator/targcc_gen/names.py").write_text("A = 1\n", encoding="utf-8")
    git("commit", "-a", "-m", "Change a module")
    new = "def test_new(): ...\n"
    (repository / "tests/test_new.py").write_text(new, encoding="utf-8")
    for workers in ((), ("-n", "2")):
        code, output = pytest_touched("-rA", *workers, "--deselect", "tests/generator/cli")
        assert code == 0, output
        assert "touched: 3 test files depend on a change" in output
        passed = {line.rpartition("::")[2] for line in output.splitlines() if line.startswith("PASSED")}  # fmt: skip
        assert passed == {"test_new", "test_spec"}, output
    code, output = pytest_touched("tests/scheduler")
    assert output == "touched: 2 files differ from main: no test file depends on them\n"
    assert code == 0
