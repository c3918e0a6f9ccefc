"""What is different of a project in one environment, as the scheduler takes it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from targcc_gen.render.literals import pyliteral

if TYPE_CHECKING:
    from pydantic import BaseModel

    from targcc_gen.spec import Spec
    from targcc_gen.spec.sharing.environments import EnvironmentSpec


def different(spec: Spec, place: EnvironmentSpec) -> str:
    """The arguments of `Project` that are other ones there, as the source of a dictionary.

    Args:
        spec: The project.
        place: One of its environments.
    """
    found: dict[str, Any] = _said(place.defaults)
    if place.queues or place.pools:
        found |= _queues(spec, place)
    options = {spec.stable_name(key): _said(job) for key, job in place.jobs.items()}
    options |= {key: _said(flow) for key, flow in place.flows.items()}  # which a job starts
    if options:
        found["job_options"] = options
    return source(found)


def _queues(spec: Spec, place: EnvironmentSpec) -> dict[str, Any]:
    queues = {
        name: queue.model_copy(update=_changed(place.queues.get(name)))
        for name, queue in spec.queues.items()
    }
    pools = {
        name: pool.model_copy(update=_changed(place.pools.get(name)))
        for name, pool in spec.pools.items()
    }
    there = spec.model_copy(update={"queues": queues, "pools": pools})
    return {
        "queues": workers_of(there),
        **ordering_of(there),
        "queue_limits": {
            name: queue.concurrency for name, queue in queues.items() if queue.concurrency
        },
        "process_queues": tuple(
            name for name, queue in queues.items() if queue.isolation == "process"
        ),
    }


def _changed(model: BaseModel | None) -> dict[str, Any]:
    return {key: value for key, value in model or () if value is not None}


def workers_of(spec: Spec) -> dict[str, int]:
    """How many runs of each queue go on at once on a node, alone or with those of its pool."""
    return {
        name: spec.pools[queue.pool].workers if queue.pool else queue.workers
        for name, queue in spec.queues.items()
    }


def ordering_of(spec: Spec) -> dict[str, Any]:
    """What waiting counts in queues, and which of them share workers; nothing is said where there is none."""
    aging = {
        name: round(queue.aging.total_seconds())
        for name, queue in spec.queues.items()
        if queue.aging
    }
    pools = {
        name: {
            "workers": pool.workers,
            "order": pool.order,
            "queues": {
                key: queue.weight or 1 for key, queue in spec.queues.items() if queue.pool == name
            },
        }
        for name, pool in spec.pools.items()
    }
    return {key: value for key, value in (("queue_aging", aging), ("pools", pools)) if value}


def _said(model: BaseModel) -> dict[str, Any]:
    from targcc_gen.spec import format_duration

    return {
        key: format_duration(value) if isinstance(value, timedelta) else value
        for key, value in model
        if value is not None
    }


def source(value: Any) -> str:
    """A value as Python source; a mapping in braces."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{pyliteral(key)}: {source(one)}' for key, one in value.items())}}}"
    return pyliteral(value)
