"""Every sentence with "never", "always" or "exactly once" names its tests in `tests/data/strong_words.toml`.

A new sentence fails here: write the fact without the word, or name the test that fails when the sentence is false.
"""

import tomllib
from pathlib import Path

import pytest
from proofs import names_of_tests
from strong_words import sentences, strong_sentences

ROOT = Path(__file__).resolve().parents[2]
HELD = tomllib.loads((ROOT / "tests/data/strong_words.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def said() -> dict[str, list[str]]:
    return sentences()


@pytest.mark.slow
def test_each_sentence_with_a_strong_word_names_its_tests(said: dict[str, list[str]]):
    assert {sentence: places for sentence, places in said.items() if not HELD.get(sentence)} == {}


def test_each_sentence_that_has_tests_is_still_said(said: dict[str, list[str]]):
    assert [sentence for sentence in HELD if sentence not in said] == []


def test_each_test_that_holds_a_sentence_is_one():
    known = names_of_tests()
    unknown = {name for names in HELD.values() for name in names if name not in known}
    assert unknown == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It works. It never fails. It stops.", ["It never fails."]),
        ("Runs\nexactly\nonce.", ["Runs exactly once."]),
        ("| `a` | Always so | no |", ["Always so"]),
        ("* one\n* never two\n", ["never two"]),
        ("Args:\n    a: One.\n    b: never two.\n", ["b: never two."]),
        ("It is nevertheless so, with `Restart=always`.", []),
        ("```ini\nRestart=always\n```\n", []),
    ],
)
def test_sentences_are_found_in_what_people_read(text: str, found: list[str]):
    assert list(strong_sentences(text)) == found
