"""Mutation testing: which small faults in the rules does no quick test notice?

    $ uv run python tests/mutation record     # once, and after changes: which test runs which line, kept in .mutants/
    $ uv run python tests/mutation run        # the same mutants each time; prints the survivors and a table
    $ uv run python tests/mutation run --share 0.1 --seed 7 --least 90
    $ uv run python tests/mutation record --group generator        # the tests of some rooms only; `run --group generator` goes with it
    $ uv run python tests/mutation run --room limits --survivors    # again, those that survived the last time
    $ uv run python tests/mutation run --only "::backoff: "          # all mutants with this text in their names
    $ uv run python tests/mutation untested --room sync              # mutants of lines that no quick test runs; runs nothing

The tests of ring 1 take part, or of the rings that `record --ring 1,2` names. A mutant runs the tests of its lines until one fails, 150 at most.
``tests/data/equivalent_mutants.toml`` lists mutants that behave as the original does, with the reason.
Exit status: 0 done; 1 fewer mutants than ``--least`` per cent were killed.
"""

import argparse
import json
import os
import random
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from mutation.judging import (
    KILLED,
    NOT_IN_A_FUNCTION,
    SURVIVED,
    TIMED_OUT,
    Case,
    in_copies,
    in_new_process,
)
from mutation.mutants import ROOT, Mutant
from mutation.recording import CACHE, Map, record
from mutation.rooms import GROUPS, ROOMS, mutants_of_room, rooms_of

RESULTS = CACHE / "results.json"
EQUIVALENT, NO_TEST, NOT_RUN = "equivalent", "no test", "not run"
COLUMNS = (KILLED, TIMED_OUT, SURVIVED, NO_TEST, EQUIVALENT, NOT_RUN)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tests/mutation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="note which test runs which line")
    recording.add_argument("paths", nargs="*", help="record only these tests")
    recording.add_argument("--group", choices=GROUPS, help="record the tests of these rooms only")
    recording.add_argument("--ring", default="1", help="rings of the tests (1), as in 1,2")
    running = commands.add_parser("run", help="run tests against mutants")
    add = running.add_argument
    add("--count", type=int, default=700, help="mutants in all rooms together (700)")
    add("--share", type=float, default=1.0, help="run this part of them, such as 0.1")
    add("--seed", type=int, default=0, help="chooses the part")
    add("--room", action="append", choices=ROOMS, help="run this room only; may be repeated")
    add("--group", choices=GROUPS, help="run the rooms of this group only")
    add("--only", metavar="TEXT", help="run all mutants whose names contain this text")
    add(
        "--survivors",
        action="store_true",
        help="run again those that survived the last time, each with ten times as many tests",
    )
    add("--minutes", type=float, default=600, help="begin no mutant after this time")
    add("--jobs", type=int, default=2, help="mutants at a time (2)")
    add("--least", type=float, default=0, help="fail below this percentage of killed mutants")
    listing = commands.add_parser("untested", help="list mutants of lines that no quick test runs")
    listing.add_argument("--room", action="append", choices=ROOMS, help="list this room only")
    options = parser.parse_args()
    if options.command == "record":
        record(options.paths, options.group, options.ring)
        return 0
    return _untested(options.room) if options.command == "untested" else _run(options)


def _untested(rooms: Iterable[str] | None) -> int:
    """Count the mutants of whole rooms that no quick test runs; with rooms, name the mutants too."""
    recorded = Map()
    for room in rooms or ROOMS:
        mutants = mutants_of_room(room)
        left = [mutant for mutant in mutants if not recorded.tests_of(mutant)]
        for mutant in left if rooms else ():
            print(f"{mutant.name}\n    line {mutant.lines[0]}: {_line(mutant)}")
        print(f"| {room} | {len(mutants)} | {len(left)} | {100 * len(left) / len(mutants):.0f}% |")
    return 0


def _run(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    rooms = options.room or rooms_of(options.group)
    chosen = list(
        _named(options.only, rooms)
        if options.only
        else _chosen(rooms, options.count, options.share, options.seed)
    )
    verdicts = _verdicts([mutant for _, mutant in chosen], options)
    table: dict[str, Counter[str]] = {room: Counter() for room in ROOMS}
    for room, mutant in chosen:
        table[room][verdicts[mutant]] += 1
        if verdicts[mutant] in {SURVIVED, NO_TEST, TIMED_OUT}:
            print(f"{verdicts[mutant]}: {mutant.name}\n    line {mutant.lines[0]}: {_line(mutant)}")
    total = sum(table.values(), Counter())
    for row in _table(table | {"all": total}):
        print(f"| {' | '.join(row)} |")
    print(f"\n{len(chosen)} mutants in {time.monotonic() - begun:.0f} s")
    return int(_killed(total) < options.least)


def _named(text: str, rooms: Iterable[str]) -> Iterator[tuple[str, Mutant]]:
    """Return all mutants whose names contain a text."""
    named = ((room, mutant) for room in rooms for mutant in mutants_of_room(room))
    return (pair for pair in named if text in pair[1].name)


def _chosen(
    rooms: Iterable[str], count: int, share: float, seed: int
) -> Iterator[tuple[str, Mutant]]:
    """Choose mutants: of each room in proportion to the square root of its size, so that small rooms count too.

    The seed chooses the part only: without ``--share`` the mutants are the same each time.
    """
    all_mutants = {room: mutants_of_room(room) for room in ROOMS}
    roots = {room: len(mutants) ** 0.5 for room, mutants in all_mutants.items()}
    for room in rooms:
        mutants, wanted = all_mutants[room], round(count * roots[room] / sum(roots.values()))
        row = random.Random(room).sample(mutants, min(len(mutants), wanted))
        if share < 1:
            row = random.Random(seed).sample(row, max(1, round(len(row) * share)))
        yield from ((room, mutant) for mutant in row)


def _verdicts(mutants: list[Mutant], options: argparse.Namespace) -> dict[Mutant, str]:
    recorded, equivalent = Map(), equivalent_mutants()
    old = _results() if options.survivors else {}
    end = time.monotonic() + 60 * options.minutes
    verdicts: dict[Mutant, str] = {}
    cases: list[Case] = []
    for mutant in mutants:
        tests = recorded.tests_of(mutant, more=options.survivors)
        if mutant.name in equivalent:
            verdicts[mutant] = EQUIVALENT
        elif old.get(mutant.name) in {KILLED, TIMED_OUT}:
            verdicts[mutant] = old[mutant.name]
        elif tests:
            cases.append(Case(mutant, tests, recorded.seconds(tests)))
        else:
            verdicts[mutant] = NO_TEST
    random.Random(0).shuffle(cases)  # where the time ends, each room has its part
    cases.sort(key=lambda case: case.mutant.name in old)

    def note(mutant: Mutant, verdict: str) -> None:
        verdicts[mutant] = verdict
        if len(verdicts) % 20 == 0:
            print(f"{len(verdicts)} of {len(mutants)}", flush=True)
        _keep(verdicts)

    in_copies(cases, options.jobs, end, note)

    def is_open(case: Case) -> bool:
        verdict = verdicts.get(case.mutant, NOT_IN_A_FUNCTION)
        at_import = verdict == SURVIVED and recorded.runs_at_import(case.mutant)
        return at_import or verdict == NOT_IN_A_FUNCTION

    rest = [case for case in cases if is_open(case)]
    print(f"{len(rest)} in new processes", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        judged = pool.map(
            lambda case: NOT_RUN if time.monotonic() > end else in_new_process(case), rest
        )
        for case, verdict in zip(rest, judged, strict=True):
            note(case.mutant, verdict)
    return verdicts


def _results() -> dict[str, str]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def _keep(verdicts: dict[Mutant, str]) -> None:
    new = {mutant.name: verdict for mutant, verdict in verdicts.items() if verdict != NOT_RUN}
    draft = RESULTS.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(_results() | new, indent=1), encoding="utf-8")
    draft.replace(RESULTS)  # another run may be reading


def equivalent_mutants() -> dict[str, str]:
    """Return the names of the mutants that behave as the original does, with the reasons."""
    path = ROOT / "tests/data/equivalent_mutants.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _line(mutant: Mutant) -> str:
    lines = (ROOT / mutant.file).read_text(encoding="utf-8").splitlines()
    return lines[mutant.lines[0] - 1].strip()


def _table(table: dict[str, Counter[str]]) -> Iterator[tuple[str, ...]]:
    yield ("room", "mutants", *COLUMNS, "killed, of those that differ")
    yield ("---",) * (len(COLUMNS) + 3)
    for room, counts in table.items():
        if counts:
            numbers = (counts.total(), *(counts[column] for column in COLUMNS))
            yield (room, *map(str, numbers), f"{_killed(counts):.0f}%")


def _killed(counts: Counter[str]) -> float:
    different = counts.total() - counts[EQUIVALENT] - counts[NOT_RUN]
    return 100 * (counts[KILLED] + counts[TIMED_OUT]) / max(different, 1)
