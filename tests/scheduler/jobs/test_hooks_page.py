"""The examples of docs/hooks.md behave as the page says."""

import importlib
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sentry_sdk
import targcc_scheduler
from opentelemetry import trace
from sentry_sdk.transport import Transport
from targcc_scheduler import JobResult, run_job
from targcc_scheduler.features.events.loops import event_of
from targcc_scheduler.features.events.model import Delivery
from targcc_scheduler.kernel.jobs.discovery import discover
from targcc_scheduler.kernel.jobs.hooks import kinds_of

PAGE = Path(__file__).resolve().parents[3] / "docs" / "hooks.md"
_BLOCK = re.compile(r"```python\n# (?P<path>\S+)\n(?P<code>.*?)```", re.DOTALL)


class Envelopes(Transport):
    """Sentry transport that keeps the events."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.events.append(envelope.get_event())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Create the packages of a project whose scheduler is this package."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "acme_jobs" / "jobs").mkdir(parents=True)
    (tmp_path / "acme_jobs" / "__init__.py").touch()
    (tmp_path / "acme_jobs" / "jobs" / "__init__.py").touch()
    monkeypatch.setitem(sys.modules, "acme_jobs.scheduler", targcc_scheduler)
    yield tmp_path
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_jobs"]:
        if name != "acme_jobs.scheduler":
            del sys.modules[name]


def hooks_of(project: Path, name: str) -> ModuleType:
    """Return the module of the example that defines a hook with this name."""
    [code] = [block["code"] for block in _blocks() if f"def {name}(" in block["code"]]
    (project / "acme_jobs" / "jobs" / "hooks.py").write_text(code, encoding="utf-8")
    _forget()
    importlib.invalidate_caches()
    assert discover("acme_jobs.jobs").broken == []
    return sys.modules["acme_jobs.jobs.hooks"]


def _blocks() -> list[re.Match[str]]:
    return list(_BLOCK.finditer(PAGE.read_text(encoding="utf-8")))


@pytest.mark.usefixtures("processes")
async def test_each_example_of_the_page_does_what_it_says(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert len(_blocks()) == 6, "each is below"

    async def failing(order: int) -> None:
        raise LookupError(f"no order {order}")

    module = hooks_of(project, "if_enabled")
    monkeypatch.setenv("JOBS_OFF", "Failing")
    outcome = await run_job(failing, hooks=[module.if_enabled], order=7)
    assert outcome.result == JobResult.success("not run: its flag is off")
    monkeypatch.setenv("JOBS_OFF", "")
    with pytest.raises(LookupError):
        await run_job(failing, hooks=[module.if_enabled], order=7)

    taken = Envelopes()
    alone = {"default_integrations": False, "auto_enabling_integrations": False}
    begin = partial(
        sentry_sdk.init, **alone
    )  # otherwise the example patches libraries in this process
    with monkeypatch.context() as patched:
        dsn = "https://key@sentry.invalid/1"
        patched.setattr(sentry_sdk, "init", partial(begin, dsn, transport=taken))
        module = hooks_of(project, "reported")
    try:
        with pytest.raises(LookupError):
            await run_job(failing, hooks=[module.reported], order=7)
        [event] = taken.events
        assert event["tags"] == {"job": "Failing"}
        assert event["contexts"]["run"] == {"id": 1, "attempt": 1, "order": 7}
        assert event["exception"]["values"][0]["value"] == "no order 7"
    finally:
        begin()

    module = hooks_of(project, "open_ticket")
    assert kinds_of(module.open_ticket) == ("failed",)
    for _ in range(2):
        await module.open_ticket(event_of(_message("failed"), "https://jobs.example.com/jobs"))
    assert module.tickets == {
        "msg_1": "Import failed: no order 7, see https://jobs.example.com/jobs/runs/4"
    }
    module.note(event_of(_message("retrying"), "/jobs"))
    assert "Import: attempt 1 failed, the next comes at 2026-03-01 09:00" in capsys.readouterr().out

    hooks_of(project, "as_tenant")
    [test] = [block["code"] for block in _blocks() if block["path"].startswith("tests/")]
    names: dict[str, Any] = {"__name__": "test_report"}
    exec(test, names)
    await names["test_the_job_works_for_its_tenant"]()

    given: list[object] = []
    monkeypatch.setattr(trace, "set_tracer_provider", given.append)
    [code] = [block["code"] for block in _blocks() if "set_tracer_provider" in block["code"]]
    exec(code, names)
    assert given == [names["provider"]]
    names["provider"].shutdown()


def _message(event: str) -> Delivery:
    at = "2026-03-01T08:00:00+00:00"
    times = f'"scheduled_for": null, "created_at": "{at}", "started_at": "{at}", "retry_at": "2026-03-01T09:00:00+00:00"'
    about = '"run_id": 4, "job": "Import", "job_type": "Manual", "queue": "default", "attempt": 1, "triggered_by": "System"'
    body = f'{{"timestamp": "{at}", "data": {{{about}, "message": "no order 7", {times}}}}}'
    return Delivery(
        id=1,
        webhook_id=1,
        message_id="msg_1",
        event=event,
        run_id=4,
        status="waiting",
        attempts=0,
        due_at=None,
        answer=None,
        created_at=None,  # type: ignore[arg-type]  # of no matter to the event
        ended_at=None,
        body=body,
    )
