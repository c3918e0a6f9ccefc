"""Unique rules as texts, by tables, without a database."""

from datetime import timedelta

import pytest
from targcc_scheduler.kernel import unique
from targcc_scheduler.kernel.jobs.options import Unique


@pytest.mark.parametrize(
    ("rule", "scope"),
    [
        (None, "running"),
        (Unique(), "running"),
        (Unique(scope="queued"), "queued"),
        (Unique(window=timedelta(hours=1)), "1h"),
        (Unique(scope="queued", window=timedelta(minutes=90)), "1h30m"),
    ],
)
def test_a_key_is_held_for_a_scope_or_a_window(rule, scope):
    assert unique._scope(rule) == scope


@pytest.mark.parametrize(
    ("rule", "duplicate", "is_so"),
    [
        (None, "skip", False),
        (Unique(), "skip", True),
        (Unique(), "replace", False),
        (Unique(duplicate="replace"), "replace", True),
    ],
)
def test_a_rule_has_one_policy_for_duplicates(rule, duplicate, is_so):
    assert unique._is(rule, duplicate) is is_so
