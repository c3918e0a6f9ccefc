"""Web side of the project ``web_jobs``: a real app on a real database, called over ASGI."""

import contextlib
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import api_contract
import httpx
import pytest
from argon2 import PasswordHasher
from jinja2 import FileSystemBytecodeCache
from projects import WEB
from targcc_scheduler import Scheduler, Settings, create_app
from targcc_scheduler.core.states import FINAL, RunState
from targcc_scheduler.db.tables import job_run, logged_job
from targcc_scheduler.features.accounts import sessions, users
from targcc_scheduler.features.accounts import sessions as account_sessions
from targcc_scheduler.features.accounts.providers import session_cookie
from targcc_scheduler.kernel import error_groups, statistics
from targcc_scheduler.kernel.error_groups import fingerprint_of, missed
from targcc_scheduler.kernel.runs.settle import imported_ending
from targcc_scheduler.kernel.runs.values import Ending
from targcc_scheduler.web import streams
from targcc_scheduler.web.dashboard import rendering

PASSWORD = "a good long password"
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD_HASH = QUICK_HASHER.hash(PASSWORD)
HOST = "http://testserver"


def _keep_compiled_templates() -> None:
    """Keep the compiled templates of the pages for the next process: a worker compiles them for 0.7 s of processor time."""
    of = zlib.crc32(Path(rendering.__file__).read_bytes())
    folder = Path(__file__).parents[2] / ".pytest_cache" / f"templates-{of:08x}"
    folder.mkdir(parents=True, exist_ok=True)
    rendering.environment().bytecode_cache = FileSystemBytecodeCache(str(folder))


_keep_compiled_templates()


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolate the tests from other projects and from a developer's settings."""
    monkeypatch.setattr("targcc_scheduler.project._configured", WEB)
    monkeypatch.setattr(
        "targcc_scheduler.features.accounts.passwords._hasher", lambda: QUICK_HASHER
    )
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TARGCC_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TARGCC_KEEPALIVE", "false")  # no job of these tests blocks the interpreter
    monkeypatch.setenv("TARGCC_MODE", "embedded")


@pytest.fixture
def database_url(migrated_sqlite_url: str) -> str:
    return migrated_sqlite_url


class Visitor:
    """A browser user: cookies, and the CSRF token of forms."""

    def __init__(self, client: httpx.AsyncClient, csrf: str = "") -> None:
        self.client = client
        self.csrf = csrf

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(path, **options)

    async def page(self, path: str, **options: Any) -> str:
        """Return the text of a page, which must exist."""
        answer = await self.client.get(path, **options)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def send(self, path: str, **form: str) -> httpx.Response:
        """Send a form with the CSRF token."""
        return await self.client.post(path, data={"csrf": self.csrf, **form})


class Site:
    """The app, and ways to sign in."""

    def __init__(self, app: Any, scheduler: Scheduler, stack: contextlib.AsyncExitStack) -> None:
        self.app = app
        self.scheduler = scheduler
        self._stack = stack

    async def stranger(self, base_url: str = HOST) -> Visitor:
        """Return a visitor who has not signed in."""
        transport = httpx.ASGITransport(self.app, client=("10.1.2.3", 1234))
        hooks = {"response": [api_contract.holds]}
        client = httpx.AsyncClient(transport=transport, base_url=base_url, event_hooks=hooks)
        return Visitor(await self._stack.enter_async_context(client))

    async def user(self, role: str = "operator", name: str | None = None) -> Visitor:
        """Create a user, sign in with a password, and return the visitor."""
        name = name or f"{role}-person"
        await self.add_user(name, role)
        visitor = await self.stranger()
        answer = await visitor.client.post("/jobs/login", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        secret = visitor.client.cookies[session_cookie()]
        now = datetime.now(UTC)
        principal = await self.scheduler.read(lambda db: sessions.find_session(db, secret, now))
        assert principal is not None
        visitor.csrf = principal.csrf or ""
        return visitor

    async def add_user(self, name: str, role: str = "admin") -> None:
        wanted, now = role, datetime.now(UTC)
        await self.change(lambda db: users.add_user(db, name, PASSWORD_HASH, wanted, now))

    async def program(self, role: str = "operator") -> httpx.AsyncClient:
        """Return a client with an API token."""
        wanted, now = role, datetime.now(UTC)
        token = await self.change(
            lambda db: account_sessions.create_token(
                db, f"{role}-program", wanted, by="test", now=now
            )
        )
        visitor = await self.stranger()
        visitor.client.headers["Authorization"] = f"Bearer {token}"
        return visitor.client

    async def change(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await self.scheduler.change(work)

    async def add_run(self, job: str, state: str, **values: Any) -> int:
        """Insert a run; its times count back from now. Return the run id."""
        now = datetime.now(UTC)
        row = {
            "JobName": job,
            "JobType": "Recurring",
            "State": state,
            "Queue": "default",
            "DueAt": now - timedelta(minutes=10),
            "CreatedAt": now - timedelta(minutes=10),
            "TriggeredBy": "System",
            "LifeLog": "",
            **values,
        }
        if state in FINAL:
            row.setdefault("StartedAt", now - timedelta(minutes=9))
            row.setdefault("CompletedAt", now - timedelta(minutes=8))
        why = {"failed": fingerprint_of(job, row.get("Message")), "missed": missed(job)}.get(state)
        if why is not None:
            row.setdefault("Cause", why.key)

        async def work(db: Any) -> int:
            if why is not None:
                await error_groups.note(db, [error_groups.Seen(why, row["CompletedAt"])])
            if state in FINAL:
                at = row.get("StartedAt") or now
                took = 60_000 if state == "succeeded" else None
                ending = Ending(job=job, at=at, outcome=RunState(state), duration_ms=took)
                await statistics.add(db, [ending], shard=0)
            return (await db.execute(job_run.insert().values(row))).inserted_primary_key[0]

        return await self.change(work)

    async def add_attempt(self, job: str, run_id: int | None, **values: Any) -> None:
        """Insert an attempt into the history."""
        now = datetime.now(UTC)
        row = {
            "JobName": job,
            "JobId": None if run_id is None else str(run_id),
            "JobType": "Recurring",
            "StartedAt": now - timedelta(minutes=9),
            "CompletedAt": now - timedelta(minutes=8),
            "DurationMs": 60_000,
            "Success": True,
            "CreatedAt": now,
            **values,
        }
        await self.change(lambda db: db.execute(logged_job.insert().values(row)))
        if run_id is None:  # an imported attempt
            await self.change(lambda db: statistics.add(db, [imported_ending(row)], shard=0))


@contextlib.asynccontextmanager
async def running(settings: Settings, *, work: bool) -> AsyncIterator[Site]:
    """Yield the site between the app's startup and shutdown."""
    scheduler = Scheduler(settings)
    app = create_app(settings, scheduler=scheduler)
    app.state.targcc_work = work
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        yield Site(app, scheduler, stack)


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        heartbeat_seconds=0.1,
        cancel_grace=0.5,
        poll_seconds=0.2,
    )


@pytest.fixture
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """End event streams after their first events, so that tests can read responses to the end."""
    monkeypatch.setattr(streams, "is_stopping", lambda: True)


@pytest.fixture
async def site(settings: Settings) -> AsyncIterator[Site]:
    """The app without a worker; tests insert the runs."""
    async with running(settings, work=False) as running_site:
        yield running_site


@pytest.fixture
async def busy_site(settings: Settings) -> AsyncIterator[Site]:
    """The app with its worker."""
    async with running(settings, work=True) as running_site:
        yield running_site
