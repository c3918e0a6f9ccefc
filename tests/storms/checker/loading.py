"""Load the evidence: the record's files, and the tables of SQLite or PostgreSQL by plain SQL."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from storms.checker.evidence import (
    FOREVER,
    Acknowledged,
    Change,
    Evidence,
    Execution,
    Fault,
    Limits,
    Logged,
    Node,
    Pause,
    Run,
    StepNote,
)
from storms.checker.tied import (
    Act,
    AskedBatch,
    AskedChild,
    AskedFlow,
    AskedKey,
    Batch,
    Flow,
    Link,
    Refused,
    Told,
)
from storms.record import ACTED, ACTING, JOBS, ROLLED_BACK, STORM, SUBMITTED, read

Line = dict[str, Any]
TABLES = "tables.json"
"""File with the rows of the tables, as read by plain SQL."""

_RUNS = (
    "SELECT Id, JobName, State, CreatedAt, ScheduledFor, Attempt, ServerId, CompletedAt, BlockedBy, Message, LifeLog,"
    " BatchId, Step, ExpiresAt"
    " FROM c_JobRun ORDER BY Id"
)
_LOGGED = "SELECT JobId, Attempt, Success, ResultMessage, JobName, StartedAt, CompletedAt FROM c_LoggedJob ORDER BY ID"
_STEPS = "SELECT RunId, Name FROM c_JobStep"
_SERVERS = "SELECT Id FROM c_JobServer"
_LINKS = "SELECT ChildId, ParentKind, ParentId, Condition, Quorum, Outcome FROM c_JobLink"
_BATCHES = "SELECT Id, State, Total, Pending, Failed, ParentId FROM c_JobBatch WHERE Kind = 'batch'"
_FLOWS = "SELECT Id, State, Pending, Failed, ArgumentsJson, DefinitionJson FROM c_JobBatch WHERE Kind = 'flow'"
_OF_APPLICATION, _OF_PEOPLE = " AND Name NOT LIKE 'people %'", " AND Name LIKE 'people %'"
_MEMBERS = "SELECT BatchId, Id FROM c_JobRun WHERE BatchId IS NOT NULL"
_ACTIVE = "SELECT Id FROM c_JobRun WHERE State NOT IN ('succeeded', 'failed', 'cancelled', 'skipped', 'missed')"
_OF_BATCHES = (
    f"{_ACTIVE} AND (BatchId IS NOT NULL OR Id IN (SELECT ChildId FROM c_JobLink JOIN c_JobBatch ON c_JobBatch.Id = c_JobLink.ParentId"
    " WHERE ParentKind = 'batch' AND (Condition = 'finish' OR c_JobBatch.State <> 'failed')))"
)
"""Unfinished batches and flows; the ``on_success`` callback of a failed batch waits for a person."""
_SLOTS = (
    "SELECT Id, ScheduledFor FROM c_JobRun WHERE ScheduledFor IS NOT NULL" f" AND Id IN ({_ACTIVE})"
)
_LATE = timedelta(seconds=20)
"""Allowed delay of a slot at the end of a storm; the judgement allows a little more."""
_HANDLED = f"{_ACTIVE} AND JobName IN ('Handled', 'Prompt')"
_OF_FLOWS = "SELECT Id FROM c_JobBatch WHERE Kind = 'flow' AND State = 'running'"


def keep_tables(folder: Path, url: str) -> None:
    """Write the tables' rows into the storm's folder, so that the judgement can be repeated."""
    tables = {name: [list(row) for row in rows(url, sql)] for name, sql in _QUERIES.items()}
    (folder / TABLES).write_text(json.dumps(tables, default=str, indent=1), encoding="utf-8")


def load(folder: Path, limits: Limits) -> Evidence:
    """Load all evidence of a storm from ``folder``; :func:`keep_tables` has written the tables."""
    storm, jobs = read(folder / STORM), read(folder / JOBS)
    tables = json.loads((folder / TABLES).read_text(encoding="utf-8"))
    submitted = read(folder / SUBMITTED)
    begin, quiet = _only(storm, "begin"), _only(storm, "quiet")
    return Evidence(
        limits=limits,
        began=begin["mono"],
        began_wall=datetime.fromtimestamp(begin["wall"], UTC),
        calm=_only(storm, "calm")["mono"],
        quiet=quiet["mono"],
        acknowledged=tuple(acknowledged(folder)),
        nodes=tuple(_nodes(storm)),
        faults=tuple(_faults(storm)),
        executions=tuple(_executions(jobs)),
        step_notes=tuple(_step_notes(jobs)),
        runs=tuple(_run(row) for row in tables["runs"]),
        logged=tuple(_logged(row) for row in tables["logged"]),
        steps=frozenset((row[0], row[1]) for row in tables["steps"]),
        servers=frozenset(row[0] for row in tables["servers"]),
        releases={line["release"]: line["mono"] for line in storm if line["event"] == "release"},
        asked_children=tuple(_asked_children(submitted)),
        asked_batches=tuple(_asked_batches(submitted)),
        links=tuple(Link(*row) for row in tables["links"]),
        batches=tuple(_batches(tables["batches"], tables["members"])),
        asked_keys=tuple(_asked_keys(submitted)),
        asked_flows=tuple(_asked_flows(submitted)),
        rolled_back=frozenset(line["token"] for line in submitted if line["event"] == ROLLED_BACK),
        refused=tuple(_refused(submitted)),
        flows=tuple(_flow(row) for row in tables["flows"]),
        pauses=tuple(_pauses(storm)),
        acts=tuple(_acts(submitted)),
        people_batches=tuple(_batches(tables.get("people_batches", []), tables["members"])),
        chains=tuple(_flow(row) for row in tables.get("chains", [])),
        told=tuple(_told(jobs)),
        strict=begin.get("order") == "strict",
        left=quiet.get("left", 0),
        stands=quiet.get("stands", False),
    )


_QUERIES = {
    "runs": _RUNS,
    "logged": _LOGGED,
    "steps": _STEPS,
    "servers": _SERVERS,
    "links": _LINKS,
    "batches": _BATCHES + _OF_APPLICATION,
    "people_batches": _BATCHES + _OF_PEOPLE,
    "members": _MEMBERS,
    "flows": f"{_FLOWS} AND Name = 'Fan'",
    "chains": f"{_FLOWS} AND Name = 'Chain'",
}


def acknowledged(folder: Path) -> Iterable[Acknowledged]:
    """Yield the runs acknowledged to the submitter."""
    for line in read(folder / SUBMITTED):
        if line["event"] == "acknowledged":
            yield Acknowledged(line["run"], line["job"], line["token"], line["mono"])


def unfinished(folder: Path, url: str) -> set[int]:
    """Return the unfinished acknowledged runs, unfinished batch runs, overdue slots, and the flows by their negative ids."""
    active = {row[0] for row in rows(url, _ACTIVE)}
    late = datetime.now(UTC) - _LATE
    slots = {run for run, slot in rows(url, _SLOTS) if _utc(slot) < late}
    of_batches = {row[0] for sql in (_OF_BATCHES, _HANDLED) for row in rows(url, sql)}
    flows = {-row[0] for row in rows(url, _OF_FLOWS)}
    return flows | of_batches | slots | active & {item.run for item in acknowledged(folder)}


def rows(url: str, sql: str) -> list[Any]:
    """Return the rows of a query on a new connection."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()
    import psycopg

    with psycopg.connect(url) as server:
        return server.execute(sql).fetchall()


def _only(lines: Iterable[Line], event: str) -> Line:
    (only_line,) = (line for line in lines if line["event"] == event)
    return only_line


def _nodes(storm: list[Line]) -> Iterable[Node]:
    ready = _first(storm, lambda line: line["event"] == "ready")
    ended = _first(storm, lambda line: line["event"] == "ended")
    killed = _first(storm, lambda line: line["event"] == "fault" and line["kind"] == "kill")
    terminated = _first(storm, lambda line: line["event"] == "fault" and line["kind"] == "term")
    for line in storm:
        if line["event"] == "node" and line["role"] == "node":
            name = line["node"]
            by = "kill" if name in killed else "term" if name in terminated else "itself"
            yield Node(
                name,
                line["target"],
                line["mono"],
                ready.get(name, FOREVER),
                ended.get(name, FOREVER),
                by if name in ended else "",
                line["release"],
                killed.get(name, FOREVER),
                terminated.get(name, FOREVER),
            )


def _first(lines: Iterable[Line], matches: Any) -> dict[str, float]:
    instants: dict[str, float] = {}
    for line in lines:
        if matches(line) and line["node"]:
            instants.setdefault(line["node"], line["mono"])
    return instants


def _faults(storm: list[Line]) -> Iterable[Fault]:
    """Yield lasting faults, and kills and terminations as instants."""
    open_: list[Line] = []
    for line in storm:
        if line["event"] == "fault" and "nodes" not in line:
            at = line["mono"]
            yield Fault(line["kind"], (line["node"],), at, at, line.get("target"))
        elif line["event"] == "fault":
            open_.append(line)
        elif line["event"] == "healed":
            begun = next(
                item
                for item in open_
                if item["kind"] == line["kind"] and item["nodes"] == line["nodes"]
            )
            open_.remove(begun)
            yield Fault(line["kind"], tuple(line["nodes"]), begun["mono"], line["mono"])


def _pauses(storm: list[Line]) -> Iterable[Pause]:
    """Yield each pause, from the request to the response of its resumption, which may be requested several times."""
    pauses: dict[str, dict[str, float]] = {}
    for line in storm:
        if line["event"] == "pausing":
            pauses[line["queue"]] = {}
        if line["event"] in {"pausing", "paused", "resuming", "resumed"}:
            pauses[line["queue"]].setdefault(line["event"], line["mono"])
        if line["event"] == "resumed":
            yield _pause(line["queue"], pauses.pop(line["queue"]))
    for queue, instants in pauses.items():
        yield _pause(queue, instants)


def _pause(queue: str, at: dict[str, float]) -> Pause:
    paused, resuming = at.get("paused", FOREVER), at.get("resuming", FOREVER)
    return Pause(queue, paused, resuming, at["pausing"], at.get("resumed", FOREVER))


def _executions(jobs: list[Line]) -> Iterable[Execution]:
    """Yield starts with their ends: same run, attempt and process."""
    ends: dict[tuple[Any, ...], list[Line]] = {}
    for line in jobs:
        if line["event"] == "end":
            ends.setdefault(_key(line), []).append(line)
    for line in jobs:
        if line["event"] != "start":
            continue
        end_lines = ends.get(_key(line), [])
        end = end_lines.pop(0) if end_lines else None
        slot = datetime.fromisoformat(line["slot"]) if line["slot"] else None
        yield Execution(
            line["run"],
            line["attempt"],
            line["job"],
            line["node"],
            line["mono"],
            None if end is None else end["mono"],
            end["outcome"] if end else "",
            line["token"],
            slot,
            line["pid"],
            line.get("key", ""),
            tuple(line["seen"]) if "seen" in line else None,
        )


def _key(line: Line) -> tuple[Any, ...]:
    return line["run"], line["attempt"], line["node"], line["pid"]


def _step_notes(jobs: list[Line]) -> Iterable[StepNote]:
    for line in jobs:
        if line["event"] in {"step", "kept"}:
            yield StepNote(
                line["event"],
                line["run"],
                line["attempt"],
                line["step"],
                line["node"],
                line["mono"],
            )


def _run(row: Any) -> Run:
    id_, job, state, created, slot, attempt, server, completed, blocked, message, life, *more = row
    batch, step, expires = more
    return Run(
        id_,
        job,
        state,
        _utc(created),
        None if slot is None else _utc(slot),
        attempt,
        server,
        None if completed is None else _utc(completed),
        blocked,
        message or "",
        tuple(_change(line) for line in life.splitlines()),
        batch,
        step,
        None if expires is None else _utc(expires),
    )


def _asked_children(submitted: list[Line]) -> Iterable[AskedChild]:
    for line in submitted:
        if line["event"] == "acknowledged" and "after" in line:
            yield AskedChild(line["run"], tuple(line["after"]), line["on"], line["quorum"])


def _asked_batches(submitted: list[Line]) -> Iterable[AskedBatch]:
    for line in submitted:
        if line["event"] == "batch":
            yield AskedBatch(line["batch"], tuple(line["tokens"]))


def _asked_keys(submitted: list[Line]) -> Iterable[AskedKey]:
    for line in submitted:
        if line["event"] == "acknowledged" and "key" in line:
            what = (line["run"], line["job"], line["key"], line["token"], line["asked"])
            yield AskedKey(*what, line["mono"], line["existing"])


def _asked_flows(submitted: list[Line]) -> Iterable[AskedFlow]:
    for line in submitted:
        if line["event"] == "flow":
            yield AskedFlow(line["flow"], line["token"])


def _refused(submitted: list[Line]) -> Iterable[Refused]:
    for line in submitted:
        if line["event"] == "refused":
            yield Refused(line["job"], line["error"], line["asked"], line["mono"])


def _flow(row: Any) -> Flow:
    id_, state, pending, failed, arguments, steps = row
    given = json.loads(arguments)
    states = {name: step["state"] for name, step in json.loads(steps).items()}
    what = given["token"], given.get("count", 0), given.get("bad", 0)
    return Flow(id_, state, pending, failed, *what, states)


def _batches(batches: list[Any], members: list[Any]) -> Iterable[Batch]:
    for id_, state, total, pending, failed, *parent in batches:
        run_ids = tuple(run for batch, run in members if batch == id_)
        yield Batch(id_, state, total, pending, failed, run_ids, *parent)


def _acts(submitted: list[Line]) -> Iterable[Act]:
    """Yield each act with its outcome, if the outcome became known."""
    ends = {line["act"]: line for line in submitted if line["event"] == ACTED}
    for line in submitted:
        if line["event"] != ACTING:
            continue
        same = line["kind"], line["target"], line["mono"]
        end = ends.get(line["act"])
        if end is None:
            yield Act(*same, token=line["token"], batch=line["batch"])
            continue
        yield Act(
            *same,
            at=end["mono"],
            done="error" not in end,
            refused=end.get("known", False),
            made=tuple(end["made"]),
            state=end.get("state"),
            token=line["token"],
            batch=line["batch"],
        )


def _told(jobs: list[Line]) -> Iterable[Told]:
    for line in jobs:
        if line["event"] == "told":
            yield Told(line["kind"], line["job"], line["key"], line["mono"])


def _change(line: str) -> Change:
    at, state, note = (*line.split(" ", 2), "")[:3]
    return Change(datetime.fromisoformat(at), state, note)


def _logged(row: Any) -> Logged:
    run, attempt, success, message, job, started, completed = row
    return Logged(
        int(run), attempt, bool(success), message or "", job, _utc(started), _utc(completed)
    )


def _utc(value: str | datetime) -> datetime:
    """Return a value as UTC; SQLite stores instants as text without a zone."""
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
