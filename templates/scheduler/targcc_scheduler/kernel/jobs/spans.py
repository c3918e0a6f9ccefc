"""Spans for runs, by OpenTelemetry's conventions for messaging: a run is a message to its job.

``create <job>`` (producer) spans the enqueue call. ``process <job>`` (consumer) spans an attempt; each attempt has a span.
A ``process`` span is a child below the ``create`` span in the same trace, and has a link to the ``create`` span. A run that no code has
enqueued, such as a slot's run, begins a new trace.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ...core.masking import mask
from ...core.stored_values import exception_line, stack_trace
from ...core.version import __version__
from .context import JobContext, StopReason
from .hooks import CallNext

_W3C = TraceContextTextMapPropagator()
_FLUSH_MILLISECONDS = 1_000


def create(job: str, queue: str) -> str | None:
    """Create the producer span for a new run; return its ``traceparent``, or ``None`` if no trace is recorded or continued."""
    span = _tracer().start_span(
        f"create {job}", kind=SpanKind.PRODUCER, attributes=_attributes("create", job, queue)
    )
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span))
    span.end()
    return carrier.get("traceparent")


async def process(ctx: JobContext, call_next: CallNext) -> None:
    """Run an attempt inside its consumer span, so that spans from the job and from its enqueue calls become children."""
    parent = _W3C.extract({"traceparent": ctx.trace or ""}, Context())
    creator = trace.get_current_span(parent).get_span_context()
    attributes: dict[str, str | int] = {
        **_attributes("process", ctx.job_name, ctx.definition.queue),
        "messaging.message.id": str(ctx.run_id),
        "targcc.attempt": ctx.attempt,
        "targcc.triggered_by": ctx.triggered_by,
    }
    with _tracer().start_as_current_span(
        f"process {ctx.job_name}",
        context=parent,
        kind=SpanKind.CONSUMER,
        attributes=attributes,
        links=[Link(creator)] if creator.is_valid else [],
        record_exception=False,  # the exception may contain secrets; `_raised` masks them
        set_status_on_exception=False,
    ) as span:
        if not creator.is_valid and span.is_recording():
            ctx.log.info("trace", trace_id=trace.format_trace_id(span.get_span_context().trace_id))
        try:
            result = await call_next()
        except BaseException as error:
            _raised(span, ctx, error)
            raise
        if not result.ok:
            _failed(span, "failure", result.message)


def flush() -> None:
    """Export recorded spans; wait at most one second."""
    force_flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if force_flush is not None:
        force_flush(_FLUSH_MILLISECONDS)


def _tracer() -> Tracer:
    return trace.get_tracer("targcc_scheduler", __version__)


def _attributes(operation: str, job: str, queue: str) -> dict[str, str]:
    return {
        "messaging.system": "targcc",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": job,
        "targcc.queue": queue,
    }


def _raised(span: Span, ctx: JobContext, error: BaseException) -> None:
    """Record an attempt's exception as an error, except for a run that was stopped for another reason than a timeout."""
    if ctx.stop_reason is not None:
        span.set_attribute("targcc.stopped", str(ctx.stop_reason))
        if ctx.stop_reason is not StopReason.TIMEOUT:
            return
    kind, message = type(error).__qualname__, mask(exception_line(error))
    span.add_event(
        "exception",
        {
            "exception.type": kind,
            "exception.message": message,
            "exception.stacktrace": mask(stack_trace(error)),
        },
    )
    _failed(span, kind, ctx.cancel_reason or message)


def _failed(span: Span, kind: str, message: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, mask(message))
