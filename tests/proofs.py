"""Names of all tests, which a guarantee may cite as its proof."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def names_of_tests() -> frozenset[str]:
    """Return every test function below `tests/`, except tests of generated projects."""
    names: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        if not {"data", "trees"} & set(path.relative_to(TESTS).parts):
            names.update(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    return frozenset(names)
