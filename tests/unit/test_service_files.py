"""The systemd units of the documentation."""

import re
from pathlib import Path

import pytest
from targcc_scheduler import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / "deployment.md", ROOT / "templates" / "project" / "README.md.jinja"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_unit_lets_the_node_stop_what_runs_beside_it(page):
    [unit] = re.findall(r"```ini\n(\[Unit\].*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    options = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    assert options["KillMode"] == "mixed"
    grace = Settings.model_fields["shutdown_grace"].default
    assert float(options["TimeoutStopSec"]) > grace
