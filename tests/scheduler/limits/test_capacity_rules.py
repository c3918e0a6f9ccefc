"""Capacity and tokens of a limit key, by tables, without a database."""

import math
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from targcc_scheduler.kernel.limits import AT_ONCE, Capacity

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)


def _capacity(most=None, taken=0, *, every=None, burst=None, next_at=None, unbegun=0):
    """Return the capacity of a key; ``every`` and ``next_at`` are seconds, ``next_at`` from now."""
    limit = SimpleNamespace(
        Most=most,
        taken=taken,
        IntervalMs=None if every is None else every * 1000,
        Burst=burst,
        NextAt=None if next_at is None else NOW + timedelta(seconds=next_at),
    )
    return Capacity(limit, unbegun, NOW)


@pytest.mark.parametrize(
    ("most", "taken", "weights", "goes"),
    [
        (None, 0, [1, 50], [True, True]),
        (2, 0, [1, 1, 1], [True, True, False]),
        (2, 1, [1, 1], [True, False]),
        (2, 2, [1], [False]),
        (5, 2, [3], [True]),
        (5, 2, [4, 3], [False, True]),
        # A run that is heavier than the whole limit goes alone.
        (2, 0, [3, 1], [True, False]),
        (2, 1, [3], [False]),
        (5, 0, [3, 9, 2], [True, False, True]),
        # A limit of 0 stops all runs, a run without weight too if nothing is left.
        (0, 0, [1], [False]),
        (1, 3, [0, 1], [False, False]),
        (1, 1, [0], [True]),
    ],
)
def test_runs_go_as_long_as_their_weight_fits(most, taken, weights, goes):
    capacity = _capacity(most, taken)
    assert [capacity.take(weight) for weight in weights] == goes


@pytest.mark.parametrize(
    ("most", "taken", "count"),
    [(None, 0, AT_ONCE), (3, 1, 2), (3, 3, 0), (3, 5, 0), (AT_ONCE + 1, 0, AT_ONCE)],
)
def test_as_many_waiting_runs_are_read_as_may_go(most, taken, count):
    assert _capacity(most, taken).count == count


@pytest.mark.parametrize(
    ("burst", "next_at", "unbegun", "tokens", "token_at"),
    [
        # Seconds from now; a token every 10 s. ``next_at`` is the instant at which all tokens are saved again.
        (None, None, 0, 1, 10),
        (None, -3600, 0, 1, 10),  # no more tokens are saved than the burst
        (None, 4, 0, 0, 4),
        (None, 10, 0, 0, 10),
        (1, 4, 0, 0, 4),
        (3, None, 0, 3, 10),
        (3, 4, 0, 2, 10),
        (3, 10, 0, 2, 10),
        (3, 11, 0, 1, 10),
        (3, 20, 0, 1, 10),
        (3, 21, 0, 0, 1),
        (3, 25, 0, 0, 5),
        (3, 30, 0, 0, 10),
        # Runs that have their capacity and have not begun keep their tokens.
        (3, None, 1, 2, 10),
        (3, None, 3, 0, 10),
        (3, 11, 1, 1, 10),
        (3, 11, 2, 1, 10),
        (3, 11, 3, 0, 10),
    ],
)
def test_tokens_come_at_the_rate_and_are_saved_up_to_the_burst(
    burst, next_at, unbegun, tokens, token_at
):
    capacity = _capacity(every=10, burst=burst, next_at=next_at, unbegun=unbegun)
    assert capacity.tokens == tokens
    assert capacity.token_at == NOW + timedelta(seconds=token_at)
    assert capacity.full_at == NOW + timedelta(seconds=max(next_at or 0, 0))


def test_a_limit_without_a_rate_needs_no_tokens():
    capacity = _capacity(2)
    assert capacity.take(1)
    assert (capacity.tokens, capacity.token_at, capacity.full_at) == (math.inf, None, NOW)


@pytest.mark.parametrize(
    ("burst", "next_at", "taken", "full_at", "token_at"),
    [
        (None, None, [True, False], 10, 10),
        (3, None, [True, True, True, False], 30, 10),
        (3, 4, [True, True, False], 24, 5),  # half an interval at the earliest
        (3, 18, [True, False], 28, 8),
        (3, 21, [False], 21, 1),
    ],
)
def test_each_run_spends_a_token(burst, next_at, taken, full_at, token_at):
    capacity = _capacity(every=10, burst=burst, next_at=next_at)
    assert [capacity.take(1) for _ in taken] == taken
    assert capacity.full_at == NOW + timedelta(seconds=full_at)
    assert capacity.token_at == NOW + timedelta(seconds=token_at)


def test_a_run_without_a_token_takes_no_capacity():
    capacity = _capacity(2, every=10)
    assert [capacity.take(1), capacity.take(1)] == [True, False]
    assert capacity.count == 1
