"""Spans of runs: OpenTelemetry's SDK with an in-memory exporter."""

import json

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import ValidationError
from targcc_scheduler import SYSTEM, RunState, Settings, job
from targcc_scheduler.core.masking import MASK
from targcc_scheduler.core.secrets import register_secret
from targcc_scheduler.kernel.jobs.tracing import TRACING
from targcc_scheduler.kernel.queries import runs

pytestmark = pytest.mark.usefixtures("processes")  # some of its jobs run in a process of their own

_exporter = InMemorySpanExporter()


@job()
async def say() -> str:
    return "hello"


@pytest.fixture(scope="module", autouse=True)
def _provider():
    """Install the tracer provider; a process has a single provider, and this module sets it."""
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(_exporter))
    trace.set_tracer_provider(made)


@pytest.fixture
async def traced(make_scheduler, settings, monkeypatch):
    monkeypatch.setattr(TRACING, "is_on", False)
    _exporter.clear()
    made = make_scheduler(
        settings=settings.model_copy(update={"otel": True}), jobs_package="hooked_jobs"
    )
    await made.start(schedule=False)
    return made


def spans(name: str) -> list[ReadableSpan]:
    return [span for span in _exporter.get_finished_spans() if span.name == name]


async def test_the_trace_of_who_enqueues_goes_on_in_the_run(traced, database):
    tracer = trace.get_tracer("the application")
    with tracer.start_as_current_span("GET /orders") as request:
        plain = await traced.enqueue("Plain", tenant="a")
        apart = await traced.enqueue("Apart", tenant="a")
        broken = await traced.enqueue("Fails")
    slot = await traced.enqueue("Report", tenant="b")
    for run_id in (plain, apart, broken, slot):
        await traced.wait(run_id, 60)
    expected = request.get_span_context().trace_id

    [created] = spans("create Plain")
    assert created.kind is SpanKind.PRODUCER
    assert created.context.trace_id == expected
    assert created.attributes["messaging.system"] == "targcc"
    assert created.attributes["messaging.operation.type"] == "create"
    [processed] = spans("process Plain")
    assert processed.kind is SpanKind.CONSUMER
    assert processed.parent.span_id == created.context.span_id
    assert processed.context.trace_id == expected
    assert [link.context.span_id for link in processed.links] == [created.context.span_id]
    assert processed.attributes["messaging.destination.name"] == "Plain"
    assert processed.attributes["messaging.message.id"] == str(plain)
    assert processed.status.status_code is StatusCode.UNSET

    # Each attempt has its own span with its error.
    attempts = sorted(spans("process Fails"), key=lambda one: one.attributes["targcc.attempt"])
    assert [one.attributes["targcc.attempt"] for one in attempts] == [1, 2]
    assert {one.context.trace_id for one in attempts} == {expected}
    for one in attempts:
        assert one.status.status_code is StatusCode.ERROR
        assert one.attributes["error.type"] == "RuntimeError"
        [event] = one.events
        assert "the warehouse is closed" in event.attributes["exception.stacktrace"]

    # Page and API of a run show its trace; a separate process has the trace too.
    run = await traced.read(lambda db: runs.get_run(db, plain))
    assert run.trace_id == trace.format_trace_id(expected)
    given = json.loads(database.history(apart)[0]["MetadataJson"])["trace"]
    assert given.split("-")[1] == run.trace_id


async def test_a_run_that_nobody_traces_begins_a_trace_and_says_which(traced, database):
    made = await traced.schedule("Report", delay="1h", tenant="b")
    # a run without a trace, like the run of a slot
    database.change("UPDATE c_JobRun SET Trace = NULL WHERE Id = ?", made)
    await traced.retry(made, by=SYSTEM)
    await traced.wait(made, 60)
    [processed] = spans("process Report")
    assert processed.parent is None
    [line] = database.rows("SELECT Message FROM c_JobLogLine WHERE RunId = ?", made)
    assert line["Message"] == f"trace trace_id={processed.context.trace_id:032x}"


async def test_secrets_do_not_leave_in_spans(traced):
    register_secret("q7zw81-of-spans")
    run_id = await traced.enqueue("Leaks", words="the key is q7zw81-of-spans")
    assert await traced.wait(run_id, 60) == RunState.FAILED
    [processed] = spans("process Leaks")
    [event] = processed.events
    assert processed.status.description == f"RuntimeError: the key is {MASK}"
    assert event.attributes["exception.message"] == processed.status.description
    assert "q7zw81" not in str(dict(event.attributes))


async def test_without_the_setting_there_is_neither_a_span_nor_a_trace(scheduler, database):
    run_id = await scheduler.enqueue(say)
    assert await scheduler.wait(run_id, 60) == RunState.SUCCEEDED
    assert scheduler.hooks.around == ()
    assert database.run(run_id)["Trace"] is None


def test_a_setting_that_cannot_work_is_refused(monkeypatch):
    with pytest.raises(ValidationError, match="trace_url is an address such as"):
        Settings(trace_url="https://traces.example.com/")
    monkeypatch.setattr("targcc_scheduler.core.extras.find_spec", lambda _name: None)
    assert "targcc-scheduler[otel] has: uv sync --extra otel" in Settings(otel=True).missing_extra
