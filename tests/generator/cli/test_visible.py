"""Escape texts for a terminal: generator and scheduler use the same rules."""

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from targcc_gen.cli import main
from targcc_gen.visible import visible
from targcc_scheduler.core.text import visible as of_scheduler

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b\u202e"


@given(st.text() | st.text("\x1b\x9b\x07\r\n\t\x7f\u202ea"), st.booleans())
def test_what_a_terminal_obeys_is_shown(text, lines):
    shown = visible(text, lines=lines)
    assert shown == of_scheduler(text, lines=lines)
    assert not set(shown) & set(map(chr, [*range(9), *range(11, 32), *range(127, 160), 0x202E]))


@pytest.mark.parametrize(
    "command",
    [["cron", HOSTILE], ["new", f"a{HOSTILE}", "--yes"], ["job", f"A{HOSTILE}"], [HOSTILE], ["import-legacy", f"{HOSTILE}.csv"], ["schema", HOSTILE]],
)  # fmt: skip
def test_no_argument_reaches_the_terminal_as_it_is(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, command)
    assert not set(result.output) & set("\x1b\x07\x9b\u202e")
