"""Every threat on the security pages names an existing test."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "SECURITY.md", ROOT / "templates/scheduler/targcc_scheduler/docs/security.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_threat_has_its_test(page):
    threats = page.read_text(encoding="utf-8").split("its test |\n|---|---|---|\n")[1]
    rows = [line for line in threats.split("\n\n")[0].splitlines() if line.startswith("|")]
    assert len(rows) >= 5
    for row in rows:
        found = re.search(r"`(tests/[\w/]+\.py)`<br>`(test_\w+)`", row)
        assert found, row
        file = ROOT / found[1]
        assert file.is_file(), row
        assert re.search(
            rf"^(?:async )?def {found[2]}\(", file.read_text(encoding="utf-8"), re.MULTILINE
        )
