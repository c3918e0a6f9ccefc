"""The checker finds violations planted into the evidence of a real storm by an attacker who knows the checker.

``tests/data/finished_storm`` is the evidence of a real storm (SQLite, worker processes, seed 11): kills, crashes, freezes and three
releases, no guarantee broken. Write its files anew with ``uv run python tests/storms --keep`` and the plan below.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from storms.checker import Complaint
from storms.checker.loading import TABLES
from storms.plan import StormPlan
from storms.record import JOBS, STORM, SUBMITTED
from storms.storm import judge

DATA = Path(__file__).resolve().parents[1] / "data" / "finished_storm"
PLAN = StormPlan("sqlite", "process", margin=3)
"""The small margin sufficed on that machine; the smaller the margin, the subtler a forgery can be."""
ID, JOB, STATE, CREATED, SLOT, ATTEMPT, SERVER, COMPLETED, BLOCKED, MESSAGE, LIFE = range(11)
RUN, ROW_ATTEMPT, SUCCESS, RESULT, ROW_JOB, STARTED, ENDED = range(7)
NEW_RUN = 999_999
LATER = timedelta(minutes=5)

Row = list[Any]
Line = dict[str, Any]


class Left:
    """Evidence of the storm, to be changed."""

    def __init__(self) -> None:
        self.jobs, self.submitted, self.storm = map(_lines, (JOBS, SUBMITTED, STORM))
        self._tables = tables = json.loads((DATA / TABLES).read_text(encoding="utf-8"))
        self.runs: list[Row] = tables["runs"]
        self.logged: list[Row] = tables["logged"]
        self.steps: list[Row] = tables["steps"]
        self.servers: list[Row] = tables["servers"]
        (begin,) = [line for line in self.storm if line["event"] == "begin"]
        self._wall = begin["wall"] - begin["mono"]

    def judged(self, folder: Path) -> tuple[Complaint, ...]:
        """Write the changed evidence and return the checker's complaints."""
        for name, lines in ((JOBS, self.jobs), (SUBMITTED, self.submitted), (STORM, self.storm)):
            text = "".join(f"{json.dumps(line)}\n" for line in lines)
            (folder / name).write_text(text, encoding="utf-8")
        changed = {name: getattr(self, name) for name in ("runs", "logged", "steps", "servers")}
        tables = self._tables | changed
        (folder / TABLES).write_text(json.dumps(tables), encoding="utf-8")
        return judge(folder, PLAN).complaints

    def run(self, job: str, state: str = "succeeded", skip: int = 5) -> Row:
        """Return a run of a job, neither among the first nor among the last."""
        rows = [row for row in self.runs if (row[JOB], row[STATE]) == (job, state)]
        return rows[min(skip, len(rows) // 2)]

    def simple(self, job: str) -> tuple[Row, Line, Line]:
        """Return a run with a single execution: its row, and start and end from the record."""
        for row in self.runs:
            lines = self.of(row[ID])
            once = len(lines) == 2 and len(self.rows(row[ID])) == 1
            if (row[JOB], row[STATE]) == (job, "succeeded") and once:
                return row, lines[0], lines[1]
        raise AssertionError(job)

    def of(self, run: int) -> list[Line]:
        """Return the record lines of a run's executions."""
        return [
            line for line in self.jobs if line["run"] == run and line["event"] in {"start", "end"}
        ]

    def rows(self, run: int) -> list[Row]:
        """Return the history rows of a run."""
        return [row for row in self.logged if int(row[RUN]) == run]

    def forget(self, run: int) -> None:
        """Remove a run except for its acknowledgement."""
        self.runs = [row for row in self.runs if row[ID] != run]
        self.logged = [row for row in self.logged if int(row[RUN]) != run]
        self.jobs = [line for line in self.jobs if line["run"] != run]

    def again(self, lines: list[Line], mono: float, **changes: Any) -> None:
        """Record executions a second time, beginning at another instant."""
        first = lines[0]["mono"]
        self.jobs += [
            line | {"mono": mono + line["mono"] - first, "wall": 0} | changes for line in lines
        ]

    def node(self, name: str) -> dict[str, float]:
        """Return the instants of a node: ``node``, ``ready``, ``ended``, and ``kill`` or ``term``."""
        instants = {}
        for line in self.storm:
            if line.get("node") == name:
                instants.setdefault(line.get("kind") or line["event"], line["mono"])
        return instants

    def pid(self, name: str) -> int:
        """Return the process id of a node."""
        (line,) = [x for x in self.storm if x["event"] == "node" and x["node"] == name]
        return int(line["target"])

    def at(self, mono: float) -> str:
        """Return an instant as SQLite stores it."""
        at = datetime.fromtimestamp(mono + self._wall, UTC)
        return at.replace(tzinfo=None).isoformat(" ", "microseconds")


def _lines(name: str) -> list[Line]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


FORGERIES: dict[str, tuple[str, Callable[[Left], None]]] = {}


def forgery(rule: str) -> Callable[[Callable[[Left], None]], Callable[[Left], None]]:
    """Register a forgery with the rule that must find it."""

    def add(function: Callable[[Left], None]) -> Callable[[Left], None]:
        FORGERIES[function.__name__] = rule, function
        return function

    return add


@forgery("acknowledged")
def a_run_is_lost(left: Left) -> None:
    left.forget(left.simple("Token")[0][ID])


@forgery("history")
def a_run_is_lost_that_was_performed(left: Left) -> None:
    run = left.run("Tick")[ID]
    left.runs = [row for row in left.runs if row[ID] != run]


@forgery("acknowledged")
def a_run_goes_on_for_ever(left: Left) -> None:
    row = left.simple("Plain")[0]
    row[STATE], row[COMPLETED] = "running", None
    row[LIFE] = row[LIFE].rpartition(row[LIFE].splitlines()[-1])[0]


@forgery("doubled")
def a_run_is_performed_twice_in_a_row(left: Left) -> None:
    _, start, end = left.simple("Token")
    left.again([start, end], end["mono"] + 0.5)


@forgery("doubled")
def a_run_is_performed_again_after_its_node_was_killed_long_after(left: Left) -> None:
    start, end, killed = _ended_long_before(left, "term")
    for line in left.storm:
        if line.get("kind") == "term" and line["node"] == start["node"]:
            line["kind"] = "kill"
    left.again([start, end], killed + 3, node=_last_node(left), attempt=start["attempt"] + 1)


@forgery("doubled")
def a_run_is_performed_again_after_its_node_was_told_to_stop_long_after(left: Left) -> None:
    start, end, stop_instant = _ended_long_before(left, "term")
    left.again([start, end], stop_instant + 3, node=_last_node(left))


@forgery("doubled")
def a_run_is_performed_again_after_its_node_was_frozen_long_after(left: Left) -> None:
    _, start, end = left.simple("Token")
    name = start["node"]
    fault = {"event": "fault", "kind": "stop", "nodes": [name], "node": ""}
    froze = end["mono"] + 30
    left.storm += [
        fault | {"mono": froze},
        fault | {"event": "healed", "mono": froze + 20},
    ]
    left.again([start, end], froze + 19, node=_last_node(left), attempt=2)


@forgery("doubled")
def a_run_is_performed_again_after_another_worker_process_crashed(left: Left) -> None:
    _, start, end = left.simple("Token")
    left.storm.append(
        {"event": "fault", "kind": "worker", "node": start["node"], "target": start["pid"] + 1}
        | {"mono": start["mono"]}
    )
    left.again([start, end], end["mono"] + 0.5, attempt=2)


@forgery("overlap")
def a_run_is_performed_by_two_nodes_at_once(left: Left) -> None:
    _, start, end = left.simple("Long")
    left.again([start, end], (start["mono"] + end["mono"]) / 2, node=_last_node(left), attempt=2)


@forgery("tokens")
def two_runs_perform_what_was_asked_for_once(left: Left) -> None:
    row, start, end = left.simple("Token")
    left.submitted = [line for line in left.submitted if line.get("run") != row[ID]]
    left.runs.append([NEW_RUN, *row[1:]])
    left.logged += [[str(NEW_RUN), *logged_row[1:]] for logged_row in left.rows(row[ID])]
    left.again([start, end], start["mono"] + 1, run=NEW_RUN)


@forgery("slots")
def a_slot_is_missing(left: Left) -> None:
    left.forget(left.run("Tick")[ID])


@forgery("slots")
def a_slot_of_the_job_with_two_schedules_is_missing(left: Left) -> None:
    left.forget(left.run("Shifting", skip=1)[ID])


@forgery("slots")
def a_slot_is_there_twice(left: Left) -> None:
    left.runs.append([NEW_RUN, *left.run("Tick")[1:]])


@forgery("slots")
def a_slot_is_performed_by_two_runs(left: Left) -> None:
    row, start, end = left.simple("Tick")
    left.runs.append([NEW_RUN, *row[1:]])
    left.logged += [[str(NEW_RUN), *logged_row[1:]] for logged_row in left.rows(row[ID])]
    left.again([start, end], start["mono"] + 1, run=NEW_RUN)


@forgery("slots")
def a_run_has_another_slot_than_it_performed(left: Left) -> None:
    row = left.simple("Tick")[0]
    moved = datetime.fromisoformat(row[SLOT]) + timedelta(hours=1)
    row[SLOT] = moved.isoformat(" ", "microseconds")


@forgery("slots")
def a_slot_fails_for_no_reason(left: Left) -> None:
    row, _, end = left.simple("Tick")
    row[STATE] = "failed"
    row[LIFE] = row[LIFE].replace(" succeeded", " failed")
    end["outcome"] = "failed"
    for logged_row in left.rows(row[ID]):
        logged_row[SUCCESS] = 0


@forgery("slots")
def a_slot_is_missed_though_nodes_were_up(left: Left) -> None:
    row = left.simple("Tick")[0]
    left.jobs = [line for line in left.jobs if line["run"] != row[ID]]
    left.logged = [logged_row for logged_row in left.logged if int(logged_row[RUN]) != row[ID]]
    late = (datetime.fromisoformat(row[SLOT]) + LATER).isoformat(" ", "microseconds")
    row[STATE], row[CREATED], row[COMPLETED] = "missed", late, late
    row[LIFE] = f"{late.replace(' ', 'T')}+00:00 missed\n"


@forgery("slots")
def a_slot_is_skipped_for_a_run_that_was_over(left: Left) -> None:
    """The blocking run had ended a minute before; the database was blocked in between, but not at that time."""
    row = max((one for one in left.runs if one[JOB] == "Busy"), key=lambda one: one[ID])
    left.jobs = [line for line in left.jobs if line["run"] != row[ID]]
    left.logged = [one for one in left.logged if int(one[RUN]) != row[ID]]
    row[STATE], row[ATTEMPT], row[COMPLETED] = "skipped", 0, row[CREATED]
    row[BLOCKED] = left.run("Busy", skip=0)[ID]
    row[LIFE] = f"{row[CREATED].replace(' ', 'T')}+00:00 skipped\n"


@forgery("states")
def a_state_moves_backwards(left: Left) -> None:
    row = left.simple("Token")[0]
    last = row[LIFE].splitlines()[-1]
    row[LIFE] += f"{last.replace('succeeded', 'running')}\n{last}\n"


@forgery("states")
def a_run_is_older_than_its_own_beginning(left: Left) -> None:
    row = left.simple("Token")[0]
    first, *rest = row[LIFE].splitlines()
    later = datetime.fromisoformat(first.split()[0]) + LATER
    row[LIFE] = "\n".join([f"{later.isoformat()} {first.split(' ', 1)[1]}", *rest]) + "\n"


@forgery("states")
def a_state_is_not_what_its_life_ended_with(left: Left) -> None:
    left.simple("Tick")[0][LIFE] += "2030-01-01T00:00:00+00:00 cancelled\n"


@forgery("states")
def an_attempt_is_counted_backwards(left: Left) -> None:
    left.run("Flaky")[ATTEMPT] = 1


@forgery("history")
def a_success_is_not_in_the_history(left: Left) -> None:
    run = left.simple("Token")[0][ID]
    left.logged = [row for row in left.logged if int(row[RUN]) != run]


@forgery("history")
def a_failed_attempt_is_not_in_the_history(left: Left) -> None:
    gone = _failed_attempt(left)
    left.logged = [row for row in left.logged if row is not gone]


@forgery("history")
def an_attempt_is_there_twice(left: Left) -> None:
    left.logged.append(list(left.rows(left.simple("Token")[0][ID])[0]))


@forgery("history")
def a_failure_is_told_as_a_success(left: Left) -> None:
    _failed_attempt(left)[SUCCESS] = 1


@forgery("history")
def a_success_is_told_as_a_failure(left: Left) -> None:
    left.rows(left.simple("Token")[0][ID])[0][SUCCESS] = 0


@forgery("history")
def an_attempt_is_told_that_nobody_made(left: Left) -> None:
    row = list(left.rows(left.simple("Token")[0][ID])[0])
    row[ROW_ATTEMPT], row[SUCCESS], row[RESULT] = 7, 0, "an attempt"
    left.logged.append(row)


@forgery("history")
def a_row_is_of_another_job(left: Left) -> None:
    left.rows(left.simple("Token")[0][ID])[0][ROW_JOB] = "Plain"


@forgery("history")
def a_row_has_the_result_of_another_run(left: Left) -> None:
    left.rows(left.simple("Token")[0][ID])[0][RESULT] = "submitter1-0"


@forgery("history")
def a_row_tells_another_time(left: Left) -> None:
    row = left.rows(left.simple("Token")[0][ID])[0]
    for index in (STARTED, ENDED):
        moved = datetime.fromisoformat(row[index]) + LATER
        row[index] = moved.isoformat(" ", "microseconds")


@forgery("history")
def the_history_tells_of_a_run_that_never_was(left: Left) -> None:
    left.logged.append([str(NEW_RUN), *left.logged[0][1:]])


@forgery("lost")
def a_healthy_node_is_declared_lost(left: Left) -> None:
    row, start, _ = left.simple("Long")
    server = f"vm:{left.pid(start['node'])}:machine:random"
    enqueued, running, *rest = row[LIFE].splitlines()
    at = running.split()[0]
    lost = f"{at} enqueued its worker {server} was lost"
    row[LIFE] = "\n".join([enqueued, running, lost, running, *rest]) + "\n"


@forgery("outlived")
def a_job_goes_on_after_its_node(left: Left) -> None:
    _, start, end = left.simple("Token")
    end["mono"] = left.node(start["node"])["ended"] + 5


@forgery("rescue")
def a_rescue_takes_too_long(left: Left) -> None:
    start, end, killed = _on_a_killed_node(left)
    left.jobs.remove(end)
    start["mono"] = killed - 0.1
    later = killed + PLAN.lost_after + PLAN.margin + 9
    left.again([start, end | {"mono": killed}], later, node=_last_node(left), attempt=2)


@forgery("steps")
def a_kept_step_is_done_again(left: Left) -> None:
    kept = next(line for line in left.jobs if line["event"] == "kept")
    left.jobs.append(kept | {"event": "step", "mono": kept["mono"] + 1, "node": _last_node(left)})


@forgery("steps")
def a_kept_step_is_not_in_the_table(left: Left) -> None:
    left.steps.clear()


@forgery("owner")
def a_node_stays_registered(left: Left) -> None:
    left.servers.append(["vm:1:machine:random"])


@forgery("nodes")
def a_node_ends_by_itself(left: Left) -> None:
    name = _last_node(left)
    left.storm = [
        line for line in left.storm if not (line["event"] == "fault" and line.get("node") == name)
    ]


def _last_node(left: Left) -> str:
    """Return a node that was up until the end."""
    names = [line["node"] for line in left.storm if line["event"] == "ready"]
    return max(names, key=lambda name: left.node(name)["ended"])


def _ended_long_before(left: Left, kind: str) -> tuple[Line, Line, float]:
    """Return an execution that ended long before its node was killed or told to stop."""
    for start in left.jobs:
        if start["event"] != "start" or start["slot"] or len(lines := left.of(start["run"])) != 2:
            continue
        node = left.node(start["node"])
        if kind in node and node[kind] - lines[1]["mono"] > PLAN.margin + 5:
            return lines[0], lines[1], node[kind]
    raise AssertionError(kind)


def _failed_attempt(left: Left) -> Row:
    """Return the row of an attempt that failed by itself."""
    for row in left.logged:
        if row[ROW_JOB] == "Hopeless" and not row[SUCCESS] and "on purpose" in row[RESULT]:
            return row
    raise AssertionError


def _on_a_killed_node(left: Left) -> tuple[Line, Line, float]:
    """Return an execution on a node that was killed while most other nodes were up."""
    for start in left.jobs:
        if start["event"] == "start" and "kill" in (node := left.node(start["node"])):
            lines = left.of(start["run"])
            if len(lines) == 2:
                return lines[0], lines[1], node["kill"]
    raise AssertionError


def test_what_a_storm_has_left_shows_no_violation(tmp_path: Path):
    assert Left().judged(tmp_path) == ()


@pytest.mark.parametrize("name", FORGERIES)
def test_a_violation_that_is_planted_is_found(name: str, tmp_path: Path):
    rule, forge = FORGERIES[name]
    left = Left()
    forge(left)
    assert rule in {complaint.rule for complaint in left.judged(tmp_path)}
