"""Stored texts and metadata are cut with a mark, and a cut never leaves part of a secret."""

import json

import pytest
from targcc_scheduler.core import masking
from targcc_scheduler.core.masking import MASK
from targcc_scheduler.core.stored_values import (
    is_kept,
    kept_ends,
    kept_text,
    metadata_json,
    text_of,
)
from timed import timed

SECRET = "correct-horse-battery-staple"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBg kqhkiG9w0BAQ\n-----END KEY-----"
TOKEN = "eyJ" + "hbGciOiJIUzI1NiIs" * 40


@pytest.fixture(autouse=True)
def _known_secrets(monkeypatch):
    monkeypatch.setattr(masking, "KNOWN", masking.KnownSecrets())
    masking.KNOWN.add(SECRET)
    masking.KNOWN.add(PEM)


def _leaks(shown, secret):
    """Return whether eight consecutive characters of the secret are shown."""
    return any(secret[at : at + 8] in shown for at in range(len(secret) - 8))


def test_what_is_cut_says_how_much_there_was():
    assert kept_text("short", 100) == "short"
    assert kept_text("x" * 1000, 10) == f"{'x' * 10}… (990 more characters)"
    assert kept_text("x" * 101, 100).endswith("… (1 more characters)")


@pytest.mark.slow
@pytest.mark.parametrize("secret", [SECRET, PEM, f"Bearer {TOKEN}", f"?token={TOKEN}"])
def test_a_secret_across_a_cut_is_not_shown_in_part(secret):
    known = secret.removeprefix("Bearer ").removeprefix("?token=")
    for before in range(0, 2_000, 7):
        text = f"{'word ' * 10}{'x' * before} {secret} {'y ' * 3_000}"
        assert not _leaks(kept_text(text, 1_000), known), before
        assert not _leaks(kept_ends(text, 1_000), known), before
        assert not _leaks(kept_ends(text[::-1][: -len(secret)] + secret + text, 1_000), known)
        tail = f"{'y ' * 3_000}{secret} {'x' * (before % 900)}"
        assert not _leaks(kept_ends(tail, 1_000), known), before


def test_secrets_that_fill_the_text_leave_no_rest_of_one_at_the_cut():
    text = SECRET * 100_000
    assert not _leaks(kept_text(text, 999), SECRET)
    assert not _leaks(kept_ends(text, 999), SECRET)


def test_both_ends_of_a_long_text_are_kept():
    shown = kept_ends("begin " + "middle " * 100_000 + "end", 1_000)
    assert shown.startswith("begin middle")
    assert shown.endswith("middle end")
    assert "more characters) …" in shown
    assert len(shown) < 1_100


def test_fifty_megabytes_cost_what_is_kept_of_them():
    large, small = "token=abc " * 5_000_000, "token=abc " * 5_000
    _, of_large = timed(lambda: (kept_text(large), kept_ends(large)))
    _, of_five_small = timed(lambda: [(kept_text(small), kept_ends(small)) for _ in range(5)], 1)
    assert of_large < of_five_small


def test_bytes_are_cut_before_they_are_shown():
    assert text_of(b"\xff" * 50_000_000, 10).startswith("b'\\xff\\xff…")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (float("nan"), "nan"),
        (True, True),
        (2**70, str(2**70)),
        ((1, "two"), [1, "two"]),
        ({1: "a", "1": "b"}, {"1": "a", "1 (2)": "b"}),
        ("a\ud800\x00", "a?�"),
        (f"see {SECRET}", f"see {MASK}"),
        ("x" * 10_005, f"{'x' * 10_000}… (5 more characters)"),
    ],
)
def test_metadata_is_kept_as_json_that_can_be_read_back(value, kept):
    assert json.loads(metadata_json({"value": value})) == {"value": kept}


def test_what_does_not_fit_into_metadata_is_marked():
    deep = []
    deep.append(deep)
    metadata = json.loads(
        metadata_json({"many": range(3), "deep": deep, "list": list(range(100_000))})
    )
    assert metadata["many"] == "range(0, 3)"
    assert metadata["deep"] == ["… (it contains itself)"]
    assert metadata["list"][:3] == [0, 1, 2]
    assert metadata["list"][-1] == "… (more than is kept)"
    assert len(metadata_json({"list": ["x" * 1_000] * 10_000})) < 120_000


def test_no_metadata_is_none():
    assert metadata_json({}) is None
    assert metadata_json(None) is None


def test_what_is_not_the_whole_of_what_was_given_can_be_told():
    loop: list = []
    loop.append(loop)
    for given in (list(range(100_000)), "x" * 20_000, loop, (n for n in range(100_000))):
        [value] = json.loads(metadata_json({"given": given}) or "").values()
        assert not is_kept(value), repr(value)[-80:]
    [secret] = json.loads(metadata_json({"password": "correct horse"}) or "").values()
    assert not is_kept(secret)
    for whole in ([], [1, "a"], "", "… and so on", "wait… (2 more)", 3, None, {}, ["…"]):
        assert is_kept(whole), whole
