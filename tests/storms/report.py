"""Results of storms as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from storms.checker import Verdict
from storms.plan import StormPlan

Outcome = tuple[StormPlan, Verdict]

_COLUMNS = (
    "kills",
    "faults",
    "acknowledged",
    "executions",
    "children",
    "batches",
    "keyed",
    "flows",
    "pauses",
    "acts",
    "told",
    "expired",
    "rescued",
    "lost",
    "doubled",
    "slots",
    "complaints",
    "seconds",
)
_MOST_SHOWN = 20
_MOST_LINES = 60


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a table with a row for each storm."""
    head = ["database", "isolation", "seed", *_COLUMNS]
    rows = [
        [plan.database, plan.isolation, str(plan.seed)]
        + [str(verdict.figures[name]) for name in _COLUMNS]
        for plan, verdict in outcomes
    ]
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def complaints(verdict: Verdict) -> str:
    """Return the number of complaints by rule, and the first complaints in full."""
    if not verdict.complaints:
        return "Every promise was kept."
    counts = Counter(item.rule for item in verdict.complaints)
    head = ", ".join(f"{rule} {count}" for rule, count in counts.most_common())
    shown = [f"  {item}" for item in verdict.complaints[:_MOST_SHOWN]]
    return "\n".join(
        [f"Not kept: {head}", *_backlog(verdict), *shown, *verdict.lives[:_MOST_LINES]]
    )


def _backlog(verdict: Verdict) -> list[str]:
    """Return lines about unfinished work and its progress: many complaints concern work that merely was not finished yet."""
    left = verdict.figures["left"]
    if not left:
        return []
    if verdict.figures["stands"]:
        return [f"{left} were not over, and nothing of that was done any more: it stands."]
    return [
        f"{left} were not over, and were still being done: there was too much for this machine."
    ]


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Return all results as JSON."""
    return json.dumps([_one(plan, verdict) for plan, verdict in outcomes], indent=2)


def _one(plan: StormPlan, verdict: Verdict) -> dict[str, Any]:
    return {
        "plan": {**asdict(plan), "faults": sorted(plan.faults)},
        "figures": verdict.figures,
        "complaints": [asdict(item) for item in verdict.complaints],
    }
