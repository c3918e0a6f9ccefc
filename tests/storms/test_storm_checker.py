"""The checker finds each broken guarantee in forged evidence, and nothing in sound evidence."""

import ast
import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from storms import forged, forged_people, forged_ties, forged_turns, forged_work
from storms.checker import Evidence, Limits, check, keep_tables, load, unfinished
from storms.checker.evidence import (
    Fault,
    Run,
)
from storms.checker.tied import AskedBatch, AskedChild, AskedFlow, Batch, Flow, Link
from storms.checker.verdict import JUDGEMENTS
from storms.forged import at, life, slot_runs, slots
from storms.policies import POLICIES
from storms.record import ACTED, ACTING, JOBS, ROLLED_BACK, STORM, SUBMITTED, append

MODULES = (forged, forged_people, forged_ties, forged_turns, forged_work)
CASES = {name: case for module in MODULES for name, case in module.CASES.items()}


def rules(found: Evidence) -> set[str]:
    return {item.rule for item in check(found).complaints}


@pytest.mark.parametrize("sound", [sound for module in MODULES for sound in module.SOUND])
def test_sound_evidence_is_not_complained_about(sound: Evidence):
    assert check(sound).complaints == ()


@pytest.mark.parametrize("case", CASES)
def test_a_broken_promise_is_found(case: str):
    rule, broken = CASES[case]
    assert rule in rules(broken)


def test_every_judgement_finds_one_of_them():
    blind = [
        judge.__name__
        for judge in JUDGEMENTS
        if not any(next(judge(broken), None) for _, broken in CASES.values())
    ]
    assert blind == []


def test_a_gap_of_slots_that_a_missed_one_tells_of_is_none():
    missed_run = Run(
        9,
        "Tick",
        "missed",
        at(6),
        at(6),
        completed=at(6),
        life=life((6, "missed", "nobody could start it in time; so were 3 earlier slots")),
    )
    runs = (*slot_runs("Tick", 2), missed_run, *slot_runs("Tick", 7, 8, first=200))
    down = Fault("database", (), 2.6, 6)
    assert check(slots(runs, faults=(down,))).complaints == ()
    miscounting_run = replace(missed_run, life=life((6, "missed", "so were 2 earlier slots")))
    assert rules(slots((runs[0], miscounting_run, *runs[2:]), faults=(down,))) == {"slots"}


def test_files_and_tables_are_read_as_they_are(tmp_path: Path):
    append(tmp_path / STORM, "begin", seed=7, order="strict")
    append(tmp_path / STORM, "node", node="node1", target=42, role="node", release=1)
    append(tmp_path / STORM, "ready", node="node1")
    append(tmp_path / STORM, "fault", kind="stop", nodes=["node1"], seconds=1)
    append(tmp_path / STORM, "healed", kind="stop", nodes=["node1"])
    for event in ("pausing", "paused", "resuming", "resuming", "resumed", "pausing"):
        append(tmp_path / STORM, event, queue="bulk")
    append(tmp_path / STORM, "calm")
    append(tmp_path / STORM, "quiet")
    append(tmp_path / STORM, "fault", kind="kill", node="node1")
    append(tmp_path / STORM, "ended", node="node1")
    append(tmp_path / SUBMITTED, "acknowledged", run=1, job="Token", token="t")
    waits = {"after": [1, 5], "on": "finish", "quorum": "any"}
    append(tmp_path / SUBMITTED, "acknowledged", run=4, job="Follower", token="v", **waits)
    append(tmp_path / SUBMITTED, "batch", batch=7, tokens=["t"])
    append(tmp_path / SUBMITTED, "refused", job="Token", token="u", error="away", asked=1.0)
    unique = {"job": "Single", "key": "a", "asked": 2.0, "existing": True}
    append(tmp_path / SUBMITTED, "acknowledged", run=1, token="w", **unique)
    append(tmp_path / SUBMITTED, "flow", flow=9, token="f")
    append(tmp_path / SUBMITTED, ROLLED_BACK, token="gone")
    append(
        tmp_path / JOBS, "start", run=1, attempt=1, job="Token", token="t", slot="", node="node1",
        key="a", seen=[10, 20],
    )  # fmt: skip
    append(tmp_path / JOBS, "end", run=1, attempt=1, job="Token", outcome="ok", node="node1")
    url = _tables(tmp_path / "jobs.db", "running")
    assert unfinished(tmp_path, url) == {1, 2, -9}
    keep_tables(tmp_path, url)
    loaded = load(tmp_path, Limits())
    first, second = loaded.pauses
    assert first.queue == second.queue == "bulk"
    assert first.asked < first.start < first.end < first.over < second.asked < second.start
    assert loaded.strict
    (node,), (stop, kill) = loaded.nodes, loaded.faults
    assert (node.pid, node.by, node.ended < float("inf")) == (42, "kill", True)
    assert (stop.kind, stop.nodes, stop.end > stop.start, kill.kind) == (
        "stop",
        ("node1",),
        True,
        "kill",
    )
    (execution,), (run, *_) = loaded.executions, loaded.runs
    assert (execution.outcome, execution.token, execution.slot) == ("ok", "t", None)
    assert (execution.key, execution.seen) == ("a", (10, 20))
    assert [change.state for change in run.life] == ["enqueued", "running"]
    assert run.life[1].note == "on a node"
    (refused,), (call,) = loaded.refused, loaded.asked_keys
    assert (refused.error, refused.asked, loaded.servers) == ("away", 1, {"host:42:m:r"})
    assert (call.run, call.key, call.asked, call.existing) == (1, "a", 2, True)
    assert (loaded.asked_flows, loaded.rolled_back) == ((AskedFlow(9, "f"),), {"gone"})
    assert loaded.flows == (Flow(9, "running", 1, 0, "f", 2, 0, {"split": "running"}),)
    assert (run.batch, run.step, run.expires) == (7, "split", at(5))
    assert loaded.asked_children == (AskedChild(4, (1, 5), "finish", "any"),)
    assert loaded.asked_batches == (AskedBatch(7, ("t",)),)
    assert loaded.links[0] == Link(2, "batch", 7, "finish", "all", None)
    assert loaded.batches == (Batch(7, "running", 1, 1, 0, (1,)), Batch(8, "failed", 0, 0, 0))
    assert {item.rule for item in check(loaded).complaints} == {
        "acknowledged",
        "owner",
        "history",
        "continuation",
        "batch",
        "flow",
        "refused",
        "expiry",
    }


def test_acts_and_alerts_are_read_as_they_are(tmp_path: Path):
    for event in ("begin", "calm", "quiet"):
        append(tmp_path / STORM, event)
    for act, end in (("a", {"made": [6]}), ("b", {"made": [], "error": "409", "known": True})):
        same = {"kind": "retry", "target": 5, "token": "", "batch": 7}
        append(tmp_path / SUBMITTED, ACTING, act=act, **same)
        append(tmp_path / SUBMITTED, ACTED, act=act, **end)
    append(tmp_path / SUBMITTED, ACTING, act="c", kind="delete", target=5, token="", batch=None)
    append(tmp_path / JOBS, "told", kind="late", job="Prompt", key="k")
    keep_tables(tmp_path, _tables(tmp_path / "jobs.db", "succeeded"))
    loaded = load(tmp_path, Limits())
    done, refused, open_ = loaded.acts
    assert (done.done, done.made, done.batch, refused.refused) == (True, (6,), 7, True)
    assert (open_.done, open_.refused, open_.target) == (False, False, 5)
    assert loaded.deletable == {5}
    assert [item.key for item in loaded.told] == ["k"]


def test_the_end_of_a_storm_waits_for_slots_that_should_be_over(tmp_path: Path):
    url = _tables(tmp_path / "jobs.db", "succeeded")
    assert unfinished(tmp_path, url) == {2, -9}
    for slot, waits in (("2026-06-10 12:00:00.000000", True), ("2126-06-10 12:00:00", False)):
        with sqlite3.connect(tmp_path / "jobs.db") as connection:
            connection.execute("UPDATE c_JobRun SET ScheduledFor = ? WHERE Id = 3", (slot,))
        connection.close()
        assert (3 in unfinished(tmp_path, url)) is waits


def _tables(file: Path, state: str) -> str:
    with sqlite3.connect(file) as connection:
        connection.executescript(
            "CREATE TABLE c_JobRun (Id, JobName, State, CreatedAt, ScheduledFor, Attempt, ServerId, CompletedAt, BlockedBy,"
            " Message, LifeLog, BatchId, Step, ExpiresAt);"
            "CREATE TABLE c_JobLink (ChildId, ParentKind, ParentId, Condition, Quorum, Outcome);"
            "CREATE TABLE c_JobBatch (Id, State, Total, Pending, Failed, ParentId, Kind, Name, ArgumentsJson, DefinitionJson);"
            "INSERT INTO c_JobLink VALUES (2, 'batch', 7, 'finish', 'all', NULL), (3, 'batch', 8, 'success', 'all', 'failed');"
            "INSERT INTO c_JobBatch VALUES (7, 'running', 1, 1, 0, NULL, 'batch', 'b', NULL, NULL), (8, 'failed', 0, 0, 0, NULL, 'batch', 'b', NULL, NULL),"
            """ (9, 'running', 7, 1, 0, NULL, 'flow', 'Fan', '{"token": "f", "count": 2, "bad": 0}', '{"split": {"state": "running"}}');"""
            "CREATE TABLE c_LoggedJob (ID, JobId, Attempt, Success, ResultMessage, JobName, StartedAt, CompletedAt);"
            "CREATE TABLE c_JobStep (RunId, Name);"
            "CREATE TABLE c_JobServer (Id);"
            "INSERT INTO c_JobServer VALUES ('host:42:m:r');"
        )
        log = "2026-06-10T12:00:00.000+00:00 enqueued\n2026-06-10T12:00:01.000+00:00 running on a node\n"
        connection.execute(
            "INSERT INTO c_JobRun VALUES (1, 'Token', ?, '2026-06-10 12:00:00.000000', NULL, 1, 'x', NULL, NULL, NULL, ?, 7, 'split',"
            " '2026-06-10 12:00:05.000000')",
            (state, log),
        )
        connection.execute(
            "INSERT INTO c_JobRun SELECT column1, column2, 'awaiting', CreatedAt, NULL, 1, NULL, NULL, NULL, NULL, ?, NULL, NULL, NULL"
            " FROM c_JobRun, (VALUES (2, 'Finished'), (3, 'Gathered'))",
            ("2026-06-10T12:00:00.000+00:00 awaiting batch\n",),
        )
    connection.close()
    return f"sqlite:///{file}"


def test_the_checker_knows_nothing_of_the_scheduler():
    folder = Path(__file__).with_name("checker")
    modules = [*folder.glob("*.py"), folder.with_name("record.py"), folder.with_name("policies.py")]
    imported = set()
    for file in modules:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
    assert len(modules) > 6
    allowed = {"storms.checker", "storms.policies", "storms.record"}
    foreign = {name for name in imported if not name.startswith(tuple(allowed))}
    assert not {
        name
        for name in foreign
        if name.split(".")[0] in {"storms", "targcc_scheduler", "sqlalchemy"}
    }


def test_every_job_of_the_storm_has_a_policy():
    jobs = Path(__file__).parent.glob("*/**/storm_jobs/jobs/*.py")
    named = {
        node.name.title()
        for file in jobs
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list
    }
    assert named == {name for name, policy in POLICIES.items() if policy.writes}


def test_a_record_of_lines_that_are_written_at_once_is_whole(tmp_path: Path):
    for number in range(3):
        append(tmp_path / JOBS, "start", run=number)
    lines = (tmp_path / JOBS).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["run"] for line in lines] == [0, 1, 2]
