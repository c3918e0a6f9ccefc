"""The command: ``uv run python tests/storms --database postgresql --kills 500 --seed 7``."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from pathlib import Path

from storms import report
from storms.databases import new_folder
from storms.plan import FAULTS, ONLY_POSTGRESQL, ONLY_PROCESSES, StormPlan
from storms.policies import WEIGHTS
from storms.storm import faketime, judge, run

_DEFAULT_FAULTS = "kill,worker,stop,term,pg,net,pause"


def main(arguments: list[str] | None = None) -> int:
    """Run the requested storms; return 0 when every guarantee held, 1 when not, 2 when a storm cannot run here."""
    options = _parser().parse_args(arguments)
    try:
        plans = _plans(options)
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.check:
        verdict = judge(options.check, plans[0])
        print(f"{report.complaints(verdict)}\n\n{report.table([(plans[0], verdict)])}")
        return int(bool(verdict.complaints))
    outcomes: list[report.Outcome] = []
    for plan in plans:
        folder = new_folder()
        print(
            f"Seed {plan.seed}: {plan.database}, {plan.isolation}, {','.join(sorted(plan.faults))}, in {folder}",
            flush=True,
        )
        verdict = run(plan, folder)
        outcomes.append((plan, verdict))
        print(report.complaints(verdict), flush=True)
        if not verdict.complaints and not options.keep:
            shutil.rmtree(folder)
    print(f"\n{report.table(outcomes)}")
    if options.json:
        options.json.write_text(report.as_json(outcomes) + "\n", encoding="utf-8")
    return int(any(verdict.complaints for _, verdict in outcomes))


def _plans(options: argparse.Namespace) -> list[StormPlan]:
    """Return a plan for each database and isolation; raise an error before the start if a fault's tools are missing."""
    faults = frozenset(options.faults.split(","))
    if unknown := faults - FAULTS.keys():
        raise ValueError(
            f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}"
        )
    if "clock" in faults:
        faketime()
    databases = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    isolations = ["thread", "process"] if options.isolation == "both" else [options.isolation]
    if "process" in isolations and not _has_processes():
        raise ValueError("this scheduler does not know isolation: process")
    weights = _weights(options.weights)
    seed = options.seed if options.seed is not None else random.randrange(10_000)
    return [
        StormPlan(
            database=database,
            isolation=isolation,
            kills=options.kills,
            seed=seed,
            faults=faults,
            nodes=options.nodes,
            rate=options.rate,
            pace=options.pace,
            longest_stop=options.longest_stop,
            longest_outage=options.longest_outage,
            lost_after=options.lost_after,
            margin=options.margin,
            minutes=options.minutes,
            weights=weights,
        )
        for database in databases
        for isolation in isolations
    ]


def _weights(text: str) -> dict[str, int]:
    """Parse weights such as ``Fan=25,Token=1``."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    if unknown := {job for job, _, _ in pairs} - WEIGHTS.keys():
        raise ValueError(
            f"nobody asks for {', '.join(sorted(unknown))}; there are {', '.join(WEIGHTS)}"
        )
    if wrong := [job for job, _, weight in pairs if not weight.isdecimal()]:
        raise ValueError(f"the weight of {', '.join(wrong)} is no number")
    return {job: int(weight) for job, _, weight in pairs}


def _has_processes() -> bool:
    from targcc_scheduler.kernel.jobs.declaration import JobOptions

    return "isolation" in JobOptions.__optional_keys__


def _parser() -> argparse.ArgumentParser:
    faults = "\n".join(f"  {name:8}{what}" for name, what in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="tests/storms",
        description=__doc__,
        epilog=f"faults (on SQLite without {', '.join(sorted(ONLY_POSTGRESQL))},"
        f" in threads without {', '.join(ONLY_PROCESSES)}):\n{faults}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--isolation", choices=["thread", "process", "both"], default="thread")
    parser.add_argument("--kills", type=int, default=40, help="how many nodes are killed (40)")
    parser.add_argument("--seed", type=int, help="of all chances; else one is drawn and printed")
    parser.add_argument("--faults", default=_DEFAULT_FAULTS, help=f"({_DEFAULT_FAULTS})")
    parser.add_argument("--nodes", type=int, default=3, help="how many there are at once (3)")
    parser.add_argument(
        "--rate", type=float, default=6, help="runs that are asked for a second (6)"
    )
    parser.add_argument(
        "--pace", type=float, default=0.8, help="longest pause between faults (0.8 s)"
    )
    parser.add_argument("--longest-stop", type=float, default=60, help="longest SIGSTOP (60 s)")
    parser.add_argument(
        "--longest-outage", type=float, default=15, help="longest of all other faults (15 s)"
    )
    parser.add_argument("--lost-after", type=float, default=6, help="TARGCC_LOST_AFTER_SECONDS (6)")
    parser.add_argument(
        "--margin", type=float, default=10, help="what a busy machine may add (10 s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=60, help="end after so long in any case (60)"
    )
    parser.add_argument(
        "--weights",
        default="",
        help="how often jobs are asked for, where otherwise: Fan=25,Token=1",
    )
    parser.add_argument("--check", type=Path, help="judge the folder of a storm once more")
    parser.add_argument("--json", type=Path, help="also write everything to a file")
    parser.add_argument(
        "--keep", action="store_true", help="keep the folder of a storm that found nothing"
    )
    return parser
