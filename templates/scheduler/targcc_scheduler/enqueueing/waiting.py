"""What ``enqueue(…, after=…)`` says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, get_args, runtime_checkable

from ..storage.runs.values import After, On, Otherwise, Quorum
from ..storage.ties.links import BATCH, RUN

MOST_WAITING = 10_000
"""So many runs of a call, or of a batch, may wait: they go, or are discarded, in the transaction that ends what they wait for."""
MOST_LINKS = 100_000
"""So many rows may say what they wait for, one for each of them and each of its parents."""


@runtime_checkable
class HasBatchId(Protocol):
    """A batch that runs can wait for."""

    @property
    def batch_id(self) -> int:
        """Its id."""


Parents = int | HasBatchId | Iterable[int | HasBatchId]
"""What a run may wait for: the id of a run, a batch, or several of these."""


def after_of(
    parents: Parents | None,
    on: On = "success",
    quorum: Quorum = "all",
    otherwise: Otherwise = "discard",
) -> After | None:
    """What a run waits for; ``None``: nothing.

    Raises:
        ValueError: a word is none of those that there are, or there are no parents.
    """
    for name, value, words in (
        ("on", on, get_args(On)),
        ("quorum", quorum, get_args(Quorum)),
        ("otherwise", otherwise, get_args(Otherwise)),
    ):
        if value not in words:
            raise ValueError(f"{name}= is {', '.join(words[:-1])} or {words[-1]}, not {value!r}")
    if parents is None:
        if (on, quorum, otherwise) != ("success", "all", "discard"):
            raise ValueError("on=, quorum= and otherwise= belong to after=")
        return None
    given = [parents] if isinstance(parents, int | HasBatchId) else list(parents)
    if not given:
        raise ValueError("after= names no run")
    return After(
        tuple((RUN, one) if isinstance(one, int) else (BATCH, one.batch_id) for one in given),
        on,
        quorum,
        otherwise,
    )


def check_size(after: After | None, runs: int) -> None:
    """Refuse more of what waits than one call makes.

    Args:
        after: What the runs wait for.
        runs: How many there are.

    Raises:
        ValueError: there are too many, or together they wait for too much.
    """
    if after is None:
        return
    if runs > MOST_WAITING:
        raise ValueError(
            f"a call has at most {MOST_WAITING} runs that wait, not {runs}: make several"
        )
    parents = len(set(after.parents))
    if runs * parents > MOST_LINKS:
        raise ValueError(
            f"{runs} runs that wait for {parents} are more than {MOST_LINKS} links: let them wait for a batch of these"
        )
