"""Calls that create runs. A type checker finds an error in each line that is marked, and in no other line."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from targcc_scheduler import (
    Actor,
    Client,
    File,
    JobContext,
    JobDefinition,
    JobResult,
    Scheduler,
    flow,
    job,
    run_job,
)

P = ParamSpec("P")


class Database:
    def __init__(self, url: str) -> None: ...


@job()
class SyncTenantJob:
    def __init__(self, database: Database) -> None: ...

    async def execute(self, ctx: JobContext, tenant_id: str, full: bool = False) -> JobResult:
        return JobResult.success()


@job()
class CleanUpJob:
    def execute(self, days: int, report: File | None = None) -> str:
        return "done"


@job()
class CloseMonthJob:
    async def execute(self, ctx: JobContext, month: int | None = None) -> None: ...


@job()
class HeartbeatJob:
    def execute(self) -> None: ...


@job()
class MoveJob:
    def execute(self, queue: str, priority: int = 0) -> None: ...


@job()
async def send_mail(ctx: JobContext, address: str, *, copies: int = 1) -> None: ...


@job()
def count_rows(table: str) -> str:
    return table


@flow("MonthEnd")
def month_end(*, month: str = "2026-10", limit: int = 10) -> None: ...


def logged(function: Callable[P, None]) -> Callable[P, None]:
    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        function(*args, **kwargs)

    return wrapper


@job()
@logged
def import_rows(path: str) -> None: ...


async def right_plain(scheduler: Scheduler, definition: JobDefinition, any_job: Callable[..., Any]) -> None:
    await scheduler.enqueue(SyncTenantJob, tenant_id="x")
    await scheduler.enqueue(SyncTenantJob, tenant_id="x", full=True)
    await scheduler.enqueue(SyncTenantJob, "x")
    await scheduler.enqueue(CleanUpJob, days=3, report=File(b"text"))
    await scheduler.enqueue(CloseMonthJob)
    await scheduler.enqueue(HeartbeatJob)
    await scheduler.enqueue(send_mail, address="a@example.org", copies=2)
    await scheduler.enqueue(count_rows, table="orders")
    await scheduler.enqueue(import_rows, path="orders.csv")
    await scheduler.enqueue("SyncTenant", tenant_id="x", queue="bulk")
    await scheduler.enqueue(definition, tenant_id="x")
    await scheduler.enqueue(any_job, tenant_id="x")


async def right_with_options(scheduler: Scheduler, client: Client) -> None:
    run = await scheduler.enqueue(SyncTenantJob, tenant_id="x", queue="bulk", priority=3)
    await scheduler.enqueue(SyncTenantJob, tenant_id="x", after=run, on="finish")
    await scheduler.enqueue(send_mail, address="a@example.org", after=[run], expires_in="10m")
    await scheduler.schedule(SyncTenantJob, delay="15m", tenant_id="x")
    client.enqueue(SyncTenantJob, tenant_id="x")
    client.enqueue(SyncTenantJob, tenant_id="x", idempotency_key="tenant x")


async def right_bound(scheduler: Scheduler, client: Client) -> None:
    sync = scheduler.job(SyncTenantJob, queue="bulk", delay="15m")
    run = await sync.enqueue(tenant_id="x")
    await sync.trigger(tenant_id="x", full=True)
    await scheduler.job(send_mail, after=run).enqueue(address="a@example.org", copies=2)
    await scheduler.job(count_rows).enqueue(table="orders")
    await scheduler.job(MoveJob, queue="bulk").enqueue(queue="other", priority=3)
    await scheduler.enqueue_many(SyncTenantJob, [sync.arguments(tenant_id=name) for name in "abc"])
    await scheduler.job("SyncTenant").enqueue(tenant_id="x")
    client.job(CleanUpJob, priority=3).enqueue(days=3)
    async with scheduler.batch("month end", on_success=CloseMonthJob, on_finish=HeartbeatJob) as batch:
        batch.enqueue(SyncTenantJob, tenant_id="x")
        batch.enqueue(SyncTenantJob, tenant_id="x", priority=3)
        batch.job(CleanUpJob, queue="bulk").enqueue(days=3)


async def right_flows(scheduler: Scheduler, client: Client, by: Actor) -> None:
    flow_id: int = await scheduler.start_flow(month_end(month="2026-11"), by=by)
    await scheduler.start_flow(month_end())
    await scheduler.start_flow("MonthEnd", {"month": "2026-11"}, by=by)
    client.start_flow(month_end(limit=flow_id))
    client.start_flow("MonthEnd", {"month": "2026-11"})


async def right_attempts() -> None:
    await run_job(SyncTenantJob(Database("")), tenant_id="x")
    await run_job(SyncTenantJob(Database("")), tenant_id="x", attempt=2)
    await run_job(CleanUpJob, days=3)
    await run_job(send_mail, address="a@example.org")
    await run_job(count_rows, table="orders")


async def wrong_plain(scheduler: Scheduler, client: Client) -> None:
    await scheduler.enqueue(SyncTenantJob)  # error: an argument is missing
    await scheduler.enqueue(SyncTenantJob, tennant_id="x")  # error: a name is misspelt
    await scheduler.enqueue(SyncTenantJob, tenant_id=7)  # error: wrong type
    await scheduler.enqueue(SyncTenantJob, tenant_id="x", more=1)  # error: unknown name
    await scheduler.enqueue(SyncTenantJob, 7)  # error: wrong type by position
    await scheduler.enqueue(CleanUpJob)  # error: an argument is missing, no context
    await scheduler.enqueue(CleanUpJob, days="x")  # error: wrong type, no context
    await scheduler.enqueue(HeartbeatJob, days=3)  # error: the job has no arguments
    await scheduler.enqueue(send_mail)  # error: a function, an argument is missing
    await scheduler.enqueue(send_mail, adress="x")  # error: a function, a name is misspelt
    await scheduler.enqueue(count_rows, table=7)  # error: a function, wrong type
    await scheduler.enqueue(import_rows, table="x")  # error: a decorated function
    await scheduler.enqueue(SyncTenantJob, tenant_id="x", priority="high")  # error: an option
    client.enqueue(SyncTenantJob)  # error: an argument is missing
    client.enqueue(send_mail, address=7)  # error: wrong type
    await scheduler.enqueue(SyncTenantJob, tenant_id="x", after=1.5)  # error: no run


async def wrong_bound(scheduler: Scheduler, client: Client) -> None:
    sync = scheduler.job(SyncTenantJob, queue="bulk", delay="15m")
    await sync.enqueue()  # error: an argument is missing
    await sync.enqueue(tennant_id="x")  # error: a name is misspelt
    await sync.trigger(tenant_id=7)  # error: wrong type
    sync.arguments(tenant_id="x", more=1)  # error: unknown name
    await scheduler.job(send_mail, after=12).enqueue(address=7)  # error: wrong type
    await scheduler.job(count_rows).enqueue()  # error: an argument is missing
    await scheduler.job(SyncTenantJob, queu="bulk").enqueue(tenant_id="x")  # error: an option is misspelt
    client.job(CleanUpJob).enqueue(days="x")  # error: wrong type
    async with scheduler.batch("month end") as batch:
        batch.enqueue(SyncTenantJob)  # error: an argument is missing
        batch.enqueue(send_mail, adress="x")  # error: a name is misspelt
        batch.job(CleanUpJob, queue="bulk").enqueue(days="x")  # error: wrong type
    scheduler.batch("month end", on_success=SyncTenantJob)  # error: the job needs an argument
    client.batch("month end", on_finish=count_rows)  # error: the job needs an argument


async def wrong_flows(scheduler: Scheduler, client: Client) -> None:
    await scheduler.start_flow(month_end(mnth="2026-11"))  # error: a name is misspelt
    await scheduler.start_flow(month_end(month=11))  # error: wrong type
    await scheduler.start_flow(month_end("2026-11"))  # error: arguments go by name
    await scheduler.start_flow(month_end(), {"month": "2026-11"})  # error: arguments in two places
    await scheduler.start_flow(month_end)  # error: the call is missing
    client.start_flow(month_end(limit="many"))  # error: wrong type


async def wrong_attempts() -> None:
    await run_job(SyncTenantJob(Database("")))  # error: an argument is missing
    await run_job(SyncTenantJob(Database("")), tenant_id=7)  # error: wrong type
    await run_job(CleanUpJob, day=3)  # error: a name is misspelt
    await run_job(send_mail, address=7)  # error: a function, wrong type
    await run_job(count_rows, table="x", attempt="x")  # error: an option
