"""Mutants of a module, and the list of the equivalent ones."""

import ast
import tomllib
from collections import defaultdict

import pytest
from mutation import recording
from mutation.mutants import ROOT, mutants_of, mutated
from mutation.rooms import GROUPS, ROOMS, paths_of, rooms_of

EQUIVALENT = tomllib.loads(
    (ROOT / "tests/data/equivalent_mutants.toml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("a < b", ["a <= b", "a >= b"]),
        ("a is not b", ["a is b"]),
        ("a in b", ["a not in b"]),
        ("a and b", ["a or b"]),
        ("x = not a", ["x = a"]),
        ("x = a if b else c", ["x = a if not b else c"]),
        ("x = a + b", ["x = a - b"]),
        ("x = a + 'text'", []),
        ("x = -a", ["x = a"]),
        ("x = 7", ["x = 8"]),
        ("x = True", ["x = False"]),
        ("x = 'text'", []),
        ("def f():\n    return a", ["def f():\n    return None"]),
        ("def f():\n    return None", []),
        ("f()", ["pass"]),
        ("raise a", ["pass"]),
        ("a += b", ["pass"]),
        ("a[b] = c", ["pass"]),
        ("x = f(a, b, c)", ["x = f(b, a, c)"]),
        ("x = f(a, a)", []),
        ("x = min(a, b)", ["x = max(a, b)"]),
        ("x = any(a)", ["x = all(a)"]),
        # Nothing of these decides at run time.
        ("x: Literal[1] = a", []),
        ("@dataclass(frozen=True)\nclass A:\n    pass", []),
        ("if TYPE_CHECKING:\n    f()", []),
        ("assert a < b", []),
    ],
)
def test_each_mutant_has_one_fault(source, faults):
    mutants = mutants_of("m.py", source)
    assert [ast.unparse(mutated(source, mutant.index)) for mutant in mutants] == faults


def test_a_name_stays_when_lines_move():
    source = "def f(a):\n    if a > 1:\n        return a\n    return a > 1\n"
    names = [mutant.name for mutant in mutants_of("m.py", source)]
    assert names == [mutant.name for mutant in mutants_of("m.py", f"import b\n\n{source}")]
    assert len(set(names)) == len(names)
    assert "m.py::f: a > 1 -> a >= 1" in names
    assert "m.py::f: a > 1 -> a >= 1 #2" in names


@pytest.mark.slow
def test_each_equivalent_mutant_exists_and_has_a_reason():
    by_file = defaultdict(list)
    for name in EQUIVALENT:
        by_file[name.partition("::")[0]].append(name)
    for file, names in by_file.items():
        source = (ROOT / file).read_text(encoding="utf-8")
        assert set(names) <= {mutant.name for mutant in mutants_of(file, source)}
    assert all(len(reason) > 20 for reason in EQUIVALENT.values())


def test_each_room_is_in_one_group_whose_tests_exist():
    assert sorted(room for group in GROUPS for room in rooms_of(group)) == sorted(ROOMS)
    assert rooms_of(None) == tuple(ROOMS)
    assert [path for path in paths_of(None) if not (ROOT / path).exists()] == []
    assert set(paths_of("kernel")) < set(paths_of(None))


@pytest.mark.parametrize(
    ("paths", "group", "recorded"),
    [
        ([], None, paths_of(None)),
        ([], "generator", paths_of("generator")),
        (["tests/unit"], None, ("tests/unit",)),
    ],
)
def test_tests_of_ring_1_are_recorded(tmp_path, monkeypatch, paths, group, recorded):
    started = []
    monkeypatch.setattr(recording, "CACHE", tmp_path)
    monkeypatch.setattr(recording, "MAP", ROOT / ".none" / "map.json")
    monkeypatch.setattr(recording.subprocess, "run", lambda words, **_: started.append(words))
    with pytest.raises(FileNotFoundError):  # no test has left lines
        recording.record(paths, group)
    (words,) = started
    assert words[words.index("--ring") : words.index("--ring") + 2] == ["--ring", "1"]
    assert tuple(words[-len(recorded) :]) == recorded
