"""Every threat on the security pages has an existing test."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / "SECURITY.md"
GUIDE = ROOT / "templates/scheduler/targcc_scheduler/docs/security.md"
THREATS = ROOT / "tests/data/threats.toml"


def is_test(path: str, name: str) -> bool:
    file = ROOT / path
    return file.is_file() and bool(
        re.search(rf"^(?:async )?def {name}\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    )


def test_every_threat_of_the_policy_names_its_test():
    threats = POLICY.read_text(encoding="utf-8").split("its test |\n|---|---|---|\n")[1]
    rows = [line for line in threats.split("\n\n")[0].splitlines() if line.startswith("|")]
    assert len(rows) >= 5
    for row in rows:
        named = re.search(r"`(tests/[\w/]+\.py)`<br>`(test_\w+)`", row)
        assert named, row
        assert is_test(named[1], named[2]), row


def test_every_threat_of_a_projects_guide_has_its_test_and_the_guide_names_none():
    text = GUIDE.read_text(encoding="utf-8")
    table = text.split("| threat | defence |\n|---|---|\n")[1].split("\n\n")[0]
    threats = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()]
    tests = tomllib.loads(THREATS.read_text(encoding="utf-8"))
    assert len(threats) >= 20
    assert set(threats) == set(tests)
    places = [place for places in tests.values() for place in places]
    assert [place for place in places if not is_test(*place.split("::"))] == []
    assert "test_" not in text
