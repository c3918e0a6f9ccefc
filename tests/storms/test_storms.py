"""Storms as tests: a short storm of forty kills, and longer storms with every fault under ``-m soak``; the command runs them all."""

from pathlib import Path

import postgresql
import pytest

from storms import report
from storms.cli import main
from storms.plan import QUICK, StormPlan
from storms.storm import run

BUSY = 24
"""Extra seconds on a machine that runs other tests: thirty in all with ``lost_after``, as guaranteed."""
_ALL = {"kill", "stop", "term", "disk", "pause", "people"}
SOAK = {
    "sqlite": ("sqlite", _ALL),
    "sqlite-processes": ("sqlite", {"kill", "worker", "stop", "term", "pause", "people"}),
    "sqlite-deploys": ("sqlite", {"kill", "deploy"}),
    "sqlite-clock": ("sqlite", {"kill", "clock"}),
    "postgresql": ("postgresql", _ALL | {"pg", "net"}),
    "postgresql-processes": ("postgresql", {"kill", "worker", "stop", "term", "pause", "people"}),
    "postgresql-deploys": ("postgresql", {"kill", "deploy"}),
    "postgresql-clock": ("postgresql", {"kill", "clock"}),
}


def _survives(plan: StormPlan, folder: Path, server: postgresql.PostgreSQL | None = None) -> None:
    verdict = run(plan, folder, server)
    print(f"\n{report.table([(plan, verdict)])}")
    assert verdict.complaints == (), f"seed {plan.seed}, in {folder}\n{report.complaints(verdict)}"
    assert verdict.figures["kills"] >= min(plan.kills, 5)
    assert verdict.figures["executions"] > verdict.figures["acknowledged"] > 0
    assert verdict.figures["slots"] > verdict.figures["slots_missed"]


@pytest.mark.usefixtures("processes")
def test_twenty_kills_on_sqlite_break_no_promise(tmp_path: Path):
    _survives(_short("sqlite"), tmp_path)


def test_twenty_kills_on_postgresql_break_no_promise(
    tmp_path: Path, postgresql_server: postgresql.PostgreSQL
):
    _survives(_short("postgresql"), tmp_path, postgresql_server)


def _short(database: str) -> StormPlan:
    return StormPlan(
        database, kills=20, faults=QUICK, nodes=2, rate=3, pace=0.3, grace=0.3, margin=BUSY
    )


@pytest.mark.soak
@pytest.mark.parametrize("name", SOAK)
def test_no_fault_breaks_a_promise(tmp_path: Path, name: str):
    database, faults = SOAK[name]
    isolation = "process" if name.endswith("processes") else "thread"
    plan = StormPlan(
        database,
        isolation,
        kills=60,
        faults=frozenset(faults),
        longest_stop=12,
        minutes=1,
        margin=BUSY,
    )
    _survives(plan, tmp_path)


WRONG = {
    "--faults=kill,flood": "no such fault: flood",
    "--isolation=none": "invalid choice",
    "--weights=Fan=25,Fen=1": "nobody asks for Fen;",
    "--weights=Fan=many": "the weight of Fan is no number",
}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("wrong", WRONG)
def test_the_command_says_what_it_does_not_know(wrong: str, capsys):
    try:
        status = main([wrong])
    except SystemExit as left:
        status = left.code
    assert status == 2
    assert WRONG[wrong] in capsys.readouterr().err
