"""Chains in words: how one stands, and the runs of one."""

from __future__ import annotations

import click

from ...core import humanize
from ...core.states import RunState
from ...web.api.schemas.chains import ChainStandingOut, LineOut, LineStepOut
from ..output import as_shown


def standing(chain: ChainStandingOut | LineOut) -> str:
    """How a chain stands: ``failed at CheckOrders, run 13``."""
    if chain.state is None:
        return "not yet"
    state = humanize.STATE_WORDS[chain.state]
    return state if chain.state == "succeeded" else f"{state} at {chain.at}, run {chain.run_id}"


def print_line(chain: LineOut, run_id: int) -> None:
    """Print the runs of a chain from the first on, each farther in than what it waited for; a star marks this run."""
    for depth, level in enumerate(chain.levels, 1):
        for one in level:
            mark = "*" if (one.kind, one.id) == ("run", run_id) else "-"
            click.echo(as_shown(f"{'  ' * depth}{mark} {_said(one)}"))


def _said(one: LineStepOut) -> str:
    what = f"run {one.id} of {one.job}" if one.kind == "run" else f"batch {one.id}"
    return f"{what} {humanize.STATE_WORDS[RunState(one.state)]}" if one.state else what
