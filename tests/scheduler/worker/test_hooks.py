"""Middleware around attempts: real schedulers, threads and processes on a SQLite file."""

# ruff: noqa: ARG001 - a hook takes its context

import asyncio
import json
import os
import time

import pytest
from hooked_jobs import hooks
from targcc_scheduler import SYSTEM, HookError, JobResult, RunState, around, on_failed, run_job
from targcc_scheduler.core.masking import MASK

pytestmark = pytest.mark.usefixtures("processes")  # some of its jobs run in a process of their own


@pytest.fixture
async def hooked(make_scheduler):
    hooks.seen.clear()
    made = make_scheduler(jobs_package="hooked_jobs")
    await made.start(schedule=False)
    return made


async def test_hooks_are_around_each_attempt_wherever_its_job_runs(hooked, database):
    jobs = ("Report", "Plain", "Apart", "PlainApart")
    runs = {name: await hooked.enqueue(name, tenant=f"t-{name}") for name in jobs}
    secret = await hooked.enqueue("Report", tenant="x", key="hunter2-secret")
    for name, run_id in runs.items():
        assert await hooked.wait(run_id, 60) == RunState.SUCCEEDED, database.history(run_id)[0][
            "ErrorMessage"
        ]
        [row] = database.history(run_id)
        assert row["ResultMessage"] == f"for t-{name}", "what the hook has set is the job's"
        apart = json.loads(row["MetadataJson"])["pid"] != os.getpid()
        assert apart == name.endswith("Apart")
    await hooked.wait(secret, 60)
    here = [entry for entry in hooks.seen if entry[1] == runs["Report"]]
    assert [entry[0] for entry in here] == [
        "outer",
        "as_tenant",
        "outer",
    ], "in the order of their registration"
    assert here[2][2:4] == (True, "for t-Report")
    assert here[2][4]["run"] == runs["Report"], "and the metadata of the result"
    given = next(entry[2] for entry in hooks.seen if entry[1] == secret)
    assert given == {"tenant": "x", "hook": "", "key": MASK}
    assert hooks.tenant.get() == "nobody"


async def test_a_hook_that_fails_fails_the_attempt_and_is_named(hooked, database):
    messages = {
        "raise": "HookError: the hook hooked_jobs.hooks.outer failed: KeyError: 'no such tenant'",
        "twice": "HookError: the hook hooked_jobs.hooks.outer failed: targcc_scheduler.core.errors.HookError: call_next() was called a second time",
        "forget": "HookError: the hook hooked_jobs.hooks.outer neither awaited call_next() nor returned a JobResult",
        "nonsense": "HookError: the hook hooked_jobs.hooks.outer returned a str",
    }
    for job in ("Report", "Plain"):
        for hook, message in messages.items():
            run_id = await hooked.enqueue(job, hook=hook)
            assert await hooked.wait(run_id, 60) == RunState.FAILED
            [row] = database.history(run_id)
            assert message in row["ErrorMessage"]
            assert "hooks.py" in row["StackTrace"] or hook in {"forget", "nonsense"}
    off = await hooked.enqueue("Report", hook="instead")
    assert await hooked.wait(off, 60) == RunState.SUCCEEDED
    assert database.history(off)[0]["ResultMessage"] == "the flag is off"


async def test_a_hook_cannot_undo_what_the_job_raised(hooked, database):
    run_id = await hooked.enqueue("Fails", hook="swallow")
    assert await hooked.wait(run_id, 60) == RunState.FAILED
    attempts = database.history(run_id)
    assert [row["ErrorMessage"] for row in attempts] == [
        "RuntimeError: the warehouse is closed"
    ] * 2
    assert [entry for entry in hooks.seen if entry[0] == "swallowed"] == [
        ("swallowed", "the warehouse is closed")
    ] * 2


async def test_a_time_limit_of_a_hook_does_not_leave_a_plain_job_behind(make_scheduler, database):
    """A thread cannot be stopped: the attempt lasts until the thread ends, so that no retry runs beside the thread."""
    scheduler = make_scheduler(jobs_package="isolated_jobs")
    ended = []

    async def impatient(ctx, call_next):
        async with asyncio.timeout(0.01):
            return await call_next()

    def slow() -> None:
        time.sleep(0.3)
        ended.append(True)

    scheduler.around(impatient)
    scheduler.add_recurring("slow", slow, "0 0 1 1 *", retries=0)
    await scheduler.start(schedule=False)
    run_id = await scheduler.trigger("slow", by=SYSTEM)
    assert await scheduler.wait(run_id, 60) == RunState.FAILED
    assert ended == [True]
    assert "TimeoutError" in database.history(run_id)[0]["ErrorMessage"]


async def test_a_hook_that_no_process_can_find_says_so(make_scheduler, database):
    scheduler = make_scheduler(jobs_package="hooked_jobs")

    @scheduler.around
    async def local(ctx, call_next):
        return await call_next()

    await scheduler.start(schedule=False)
    here = await scheduler.enqueue("Report", tenant="a")
    apart = await scheduler.enqueue("Apart", tenant="a")
    assert await scheduler.wait(here, 60) == RunState.SUCCEEDED
    assert await scheduler.wait(apart, 60) == RunState.FAILED
    assert "cannot be found by a process of its own" in database.history(apart)[0]["ErrorMessage"]
    with pytest.raises(HookError, match="before the scheduler starts"):
        scheduler.on_failed(hooks.cancelled)


async def test_no_job_runs_without_the_hooks_of_a_broken_file(
    make_scheduler, database, tmp_path, monkeypatch
):
    package = tmp_path / "broken_jobs"
    package.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    (package / "__init__.py").write_text("")
    (package / "hooks.py").write_text("import nothing_of_this_name\n")
    (package / "work.py").write_text(
        "from targcc_scheduler import job\n\n@job(retries=0)\nasync def work() -> str:\n    return 'worked'\n"
    )
    scheduler = make_scheduler(jobs_package="broken_jobs")
    await scheduler.start(schedule=False)
    run_id = await scheduler.enqueue("Work")
    assert await scheduler.wait(run_id, 60) == RunState.FAILED
    message = database.history(run_id)[0]["ErrorMessage"]
    assert "no job runs, since broken_jobs.hooks cannot be used: ModuleNotFoundError" in message


def test_what_cannot_be_a_hook_is_refused_where_it_is_declared():
    for wrong, why in (
        (hooks.tries_again, "is an async function"),
        (hooks.whatever_ended, "takes the context and call_next"),
        (type, "a hook is a function"),
    ):
        with pytest.raises(HookError, match=why):
            around(wrong)
    with pytest.raises(HookError, match="takes the event"):
        on_failed(hooks.outer)


async def test_a_test_of_a_job_says_which_hooks_are_around_it():
    async def work() -> str:
        return hooks.tenant.get()

    assert (await run_job(work)).result.message == "nobody"

    async def set_tenant(ctx, call_next):
        hooks.tenant.set("acme")
        result = await call_next()
        return JobResult.success(f"{result.message}!")

    assert (await run_job(work, hooks=[set_tenant])).result.message == "acme!"
