"""The rings of tests; the plugin runs in a pytest of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import rings

CONFTEST = """
import pytest
pytest_plugins = ["rings"]

@pytest.fixture(scope="session")
def processes():
    pass

@pytest.fixture
def node(processes):
    pass

@pytest.fixture
def site():
    pass

@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    return request.getfixturevalue(f"{request.param}_file")

@pytest.fixture
def sqlite_file():
    pass

@pytest.fixture
def postgresql_file(processes):
    pass
"""
TESTS = """
import contextlib, subprocess, sys
import pytest

def test_plain():
    pass

def test_of_a_node(node):
    subprocess.run([sys.executable, "-c", ""], check=True)

def test_of_a_database(database):
    pass

def test_of_a_page(site):
    pass

@pytest.mark.parametrize("dialect", ["postgresql"])
def test_of_a_name(dialect):
    pass

@pytest.mark.soak
def test_of_weeks(node):
    pass

@pytest.mark.always
def test_short(node):
    subprocess.run([sys.executable, "-c", ""], check=True)

@pytest.mark.benchmark
def test_of_a_ratio():
    pass
"""
SECRET = """
def test_secret():
    with contextlib.suppress(Exception):
        subprocess.run([sys.executable, "-c", ""])
"""
INI = """
[pytest]
asyncio_default_fixture_loop_scope = function
markers = soak
  always
  benchmark
"""
RING_1 = {"test_plain", "test_of_a_database[sqlite]", "test_of_a_name[postgresql]", "test_short"}
RING_2 = {"test_of_a_node", "test_of_a_database[postgresql]", "test_of_a_page"}


def run(folder: Path, *words: str, more: str = "") -> tuple[set[str], str]:
    """Return the names of the tests that passed, and the output."""
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "pytest.ini").write_text(INI, encoding="utf-8")
    (folder / "test_it.py").write_text(TESTS + more, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:randomly", *words]  # fmt: skip
    tests = Path(rings.__file__).parent
    done = subprocess.run(
        [*command, "-o", f"pythonpath={tests}"],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    output = done.stdout + done.stderr
    return set(re.findall(r"^test_it\.py::(\S+) PASSED", output, re.MULTILINE)), output


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), RING_1),
        (("--ring", "2"), RING_2),
        (("--ring", "1,2"), RING_1 | RING_2),
        (("--ring", "3"), {"test_of_weeks"}),
        (("test_it.py",), RING_1 | RING_2),
        (("-m", "soak"), {"test_of_weeks"}),
        (("-m", "benchmark"), {"test_of_a_ratio"}),
    ],
)
def test_the_fixtures_and_marks_of_a_test_decide_its_ring(tmp_path, words, names):
    passed, output = run(tmp_path, *words)
    assert passed == names, output


WHOLE_FILE = """
import pytest

pytestmark = {marks}
print("imported")

def test_it():
    pass
"""


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("marks", "ring", "is_imported"),
    [
        ("pytest.mark.soak", "1", False),
        ("[\n    pytest.mark.benchmark,\n]", "1", False),
        ('pytest.mark.usefixtures("processes")', "1", False),
        ('pytest.mark.usefixtures("processes")', "2", True),
        ('pytest.mark.usefixtures("tmp_path")', "1", True),
        ('[pytest.mark.usefixtures("processes"), pytest.mark.always]', "1", True),
    ],
)
def test_a_file_without_tests_of_ring_1_is_not_imported_for_ring_1(
    tmp_path, marks, ring, is_imported
):
    (tmp_path / "test_b.py").write_text(WHOLE_FILE.format(marks=marks), encoding="utf-8")
    _, output = run(tmp_path, "-s", "--ring", ring)
    assert ("imported" in output) is is_imported, output


@pytest.mark.usefixtures("processes")
def test_test_files_are_compiled_after_a_run(tmp_path):
    run(tmp_path)
    assert rings.are_compiled(tmp_path)
    (tmp_path / "test_new.py").write_text("", encoding="utf-8")
    assert not rings.are_compiled(tmp_path)


@pytest.mark.usefixtures("processes")
def test_a_test_of_ring_1_that_starts_a_process_fails_and_names_the_fixture(tmp_path):
    passed, output = run(tmp_path, more=SECRET)
    assert passed == RING_1
    assert "usefixtures('processes')" in output


LEAK = """
def test_leak(tmp_path):
    cycle = [open(tmp_path / "left_open", "w")]
    cycle.append(cycle)
"""
LEAK_OF_A_FIXTURE = """
import pytest

@pytest.fixture
def cycle(tmp_path):
    cycle = [open(tmp_path / "left_open", "w")]
    cycle.append(cycle)
    return cycle

def test_leak(cycle):
    pass
"""
HEAVY = """
import gc

def test_heavy():
    gc.collect()
"""
KEEPS = """
KEPT = [[] for _ in range(1_000)]

def test_keeps():
    pass
"""
LOOKS = """
import gc
from test_a import KEPT

def test_looks():
    assert not any(thing is KEPT for thing in gc.get_objects())
"""


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("leak", [LEAK, LEAK_OF_A_FIXTURE], ids=["test", "fixture"])
def test_what_a_test_leaves_open_fails_a_test_of_its_own_file(tmp_path, leak):
    (tmp_path / "test_a.py").write_text(leak, encoding="utf-8")
    (tmp_path / "test_b.py").write_text(HEAVY, encoding="utf-8")
    _, output = run(tmp_path, "-W", "error", "-rEf", "test_a.py", "test_b.py")
    assert "test_b.py::test_heavy PASSED" in output
    assert re.search(r"^ERROR test_a\.py::test_leak", output, re.MULTILINE), output


@pytest.mark.usefixtures("processes")
def test_garbage_collections_skip_objects_that_outlive_their_file(tmp_path):
    (tmp_path / "test_a.py").write_text(KEEPS, encoding="utf-8")
    (tmp_path / "test_b.py").write_text(LOOKS, encoding="utf-8")
    _, output = run(tmp_path, "test_a.py", "test_b.py")
    assert "test_b.py::test_looks PASSED" in output, output


def test_parts_share_a_ring_and_a_part_depends_on_the_names_alone():
    names = [f"tests/test_{number}.py::test_it" for number in range(100)]
    parts = [{name for name in names if rings.part_of(name, 3) == part} for part in (1, 2, 3)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(len(part) > 20 for part in parts)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("words", [(), ("-n", "2")], ids=["one process", "workers"])
def test_a_run_begins_no_test_after_its_minutes_and_says_how_many_it_left(tmp_path, words):
    passed, output = run(tmp_path, "--minutes", "0", *words)
    assert not passed
    assert f"{len(RING_1)} tests were not begun within 0 minutes" in output
    assert "not begun" not in run(tmp_path, "--minutes", "5", *words)[1]


@pytest.mark.parametrize(
    ("phases", "sent"),
    [
        ([("setup", "passed"), ("call", "passed"), ("teardown", "passed")], {"call": 6}),
        ([("setup", "passed"), ("call", "failed"), ("teardown", "passed")], {"call": 6}),
        ([("setup", "failed"), ("teardown", "passed")], {"setup": 3}),
        ([("setup", "passed"), ("call", "passed"), ("teardown", "failed")], {"call": 2, "teardown": 4}),
    ],
)  # fmt: skip
def test_a_worker_sends_what_is_worth_a_message(phases, sent):
    reports = [
        pytest.TestReport("t", ("t", 1, "t"), {}, outcome, None, phase, processor=number)
        for number, (phase, outcome) in enumerate(phases, 1)
    ]
    assert {report.when: report.processor for report in rings.shortened(reports)} == sent
