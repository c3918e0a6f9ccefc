"""Processing a job's text takes linear time: a text eight times as long takes about eight times as long, never 64 times."""

import sys
from collections.abc import Callable
from types import FrameType

import pytest
from targcc_scheduler.core.masking import mask
from targcc_scheduler.core.stored_values import is_kept, metadata_json
from targcc_scheduler.core.text import visible
from targcc_scheduler.features.alerts.channels import _escaped_for_teams
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.schedules import ics
from targcc_scheduler.web.dashboard.run_log import message_html
from timed import timed

SMALL, TIMES = 8_000, 6  # masks of tokens look 4,000 characters ahead at most
MOST_GROWTH = 15
"""Between 6 (linear work) and 36 (quadratic work)."""


def seconds(act: Callable[[str], object], text: str, tries: int = 5) -> float:
    return timed(lambda: act(text), tries)[1]


def growth(act: Callable[[str], object], begin: str, unit: str, end: str) -> float:
    """Return the ratio of the processor times of a large text and a text a sixth as long.

    Measure again while other work on the machine makes linear work look worse: no number of calls makes quadratic work look linear.
    """
    texts = [begin + unit * (size // len(unit)) + end for size in (SMALL, SMALL * TIMES)]
    small, large = (seconds(act, text, tries) for text, tries in zip(texts, (5, 2), strict=True))
    for _ in range(20):
        if large / max(small, 1e-5) < MOST_GROWTH:
            break
        small, large = (
            min(best, seconds(act, text, 1))
            for best, text in zip((small, large), texts, strict=True)
        )
    return large / max(small, 1e-5)


def calls(act: Callable[[str], object], text: str) -> int:
    """Return the number of calls that a function makes, of Python functions and of builtins."""
    number = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal number
        number += event in {"call", "c_call"}

    act(text[:100])  # fills caches
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        act(text)
    finally:
        sys.setprofile(before)
    return number


def in_a_trace(text: str) -> object:
    return fingerprint_of(
        "Import", text, f"Traceback (most recent call last):\n{text}\nValueError: x"
    )


PAGES = [
    ("http://a.example/", ")", ""),
    ("http://a.example/", "]", "]"),
    ("http://a.example/", "(", ")" * 2_000),
    ("http://a.example/", "()", ")"),
    ("", "http://a)", ""),
    ("http://a.example/", ".", ""),
    ("", "[", ""),
    ("", "\x1b[", ""),
    ("", "\x1b[1", ""),
    ("\x1b[", "1", "m"),
    ("\x1b[", "1;", "m"),
    ("\x1b[", "38;5;", "m"),
    ("\x1b[", "1", ""),
    ("\x1b[", " ", ""),
    ("", "\x1b]", ""),
    ("\x1b]", "x", ""),
]
MASKED = [
    ("", "http://a:", ""),
    ("", "://", ""),
    ("", "://:", ""),
    ("://a:", "b", ""),
    ("", "://a:b@", ""),
    ("", "pwd=", ""),
    ("", "pwd = ", ""),
    ("pwd", " ", ""),
    ("", "pwd={", ""),
    ("", "pwd='", ""),
    ('pwd="', '""', ""),
    ("", "pwd>", ""),
    ("", "pwd: ", ""),
    ("", "'pwd': ", ""),
    ("", "secret\\", ""),
    ("", "Bearer ", ""),
    ("", "Authorization: ", ""),
    ("", "-eyJaaaaaaaa", ""),
    ("eyJ", "a.", ""),
    ("", "-----BEGIN PRIVATE KEY-----", ""),
    ("", "hooks.slack.com/services/", ""),
    ("", "password", ""),
    ("", "_", "password"),
    ("", "tgc_", ""),
]
FAILURES = [
    ("", "\n", ""),
    ("", " ", ""),
    ("", "a.", ""),
    ("", "a-", "@"),
    ("a@", "b.", ""),
    ("", "a@b", ""),
    ("Stop", "Stop", "!"),
    ("", "Error", "!"),
    ("", "'", ""),
    ("", "`'", ""),
    ("", "1.", ""),
    ("", "0x", ""),
    ("", "a1", ""),
    ("", ' File "', ""),
    ("", ' File "a", line 1, in ', ""),
]
CASES = {
    "page": (message_html, PAGES),
    "mask": (mask, MASKED),
    "cause": (in_a_trace, FAILURES),
    "teams": (_escaped_for_teams, [("", "\n", ""), ("", " ", ""), ("", "1", ""), ("", "\n1", "")]),
    "visible": (visible, [("", "\x1b", ""), ("", "\r\n", "")]),
    "metadata": (
        lambda text: (metadata_json({"a": text}), is_kept(text)),
        [("", "… (more than ", ""), ("", "1", "")],
    ),
}


@pytest.mark.parametrize(
    ("what", "text"), [(what, text) for what, (_, texts) in CASES.items() for text in texts]
)
def test_a_text_costs_time_in_proportion_to_its_length(what, text):
    assert growth(CASES[what][0], *text) < MOST_GROWTH


@pytest.mark.parametrize(
    "text", [*PAGES, ("", "\x01", ""), ("", "\x1b[31mx", ""), ("", "\u202e", "")]
)
def test_a_line_of_a_log_takes_calls_in_proportion_to_its_length(text):
    begin, unit, end = text
    less, more = (
        calls(message_html, begin + unit * (size // len(unit)) + end) for size in (20_000, 40_000)
    )
    assert more <= 2.1 * less + 10


def test_a_line_of_a_calendar_with_many_parameters_is_read_at_once():
    """Each parameter used to match in two ways, so 30 parameters had about 10**9 combinations."""
    line = "DTSTART" + ';X="a"' * 14
    less, more = (seconds(ics._LINE.match, text) for text in (line, line + ';X="a"' * 4))
    assert more / max(less, 1e-5) < 4
