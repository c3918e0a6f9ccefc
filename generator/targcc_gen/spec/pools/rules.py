"""What must hold between pools and the queues that share them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from targcc_gen.spec.findings import Finding
from targcc_gen.spec.value_errors import nearest

Steps = tuple[str, ...]


def pool_findings(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with the pools of a whole spec, in the shape of the YAML."""
    if "extends" in spec:  # which may have the pool: asked again when that is read too
        return
    pools, queues = _mapping(spec.get("pools")), _mapping(spec.get("queues"))
    for name, queue in queues.items():
        yield from _of_queue(("queues", str(name)), _said(queue), pools)
    named = {_said(queue).get("pool") for queue in queues.values()}
    for name in pools:
        if name not in named:
            hint = f"give a queue pool: {name}, or take it out"
            yield Finding(("pools", str(name)), f'no queue is in pool "{name}"', hint, at="key")
    for place, said in _mapping(spec.get("environments")).items():
        yield from _of_environment(("environments", str(place)), _mapping(said), pools, queues)


def _of_queue(here: Steps, queue: Mapping[str, Any], pools: Mapping[str, Any]) -> Iterator[Finding]:
    pool, name = queue.get("pool"), here[-1]
    if pool is None:
        if "weight" in queue:
            message, hint = (
                f"queue {name} has a weight and no pool",
                "name its pool, or remove weight",
            )
            yield Finding((*here, "weight"), message, hint, at="key")
        return
    if pool not in pools:
        yield _no_pool((*here, "pool"), str(pool), pools)
        return
    if "workers" in queue:
        message = f"queue {name} has both workers and a pool"
        hint = f"say how many there are in pools: {pool}, or remove pool"
        yield Finding((*here, "workers"), message, hint, at="key")
    if "weight" in queue and _said(pools[pool]).get("order") == "strict":
        message = f"queue {name} has a weight, and pool {pool} is strict"
        hint = "its queues go in the order of the file; remove weight, or order: strict"
        yield Finding((*here, "weight"), message, hint, at="key")


def _of_environment(
    here: Steps, said: Mapping[str, Any], pools: Mapping[str, Any], queues: Mapping[str, Any]
) -> Iterator[Finding]:
    for name in _mapping(said.get("pools")):
        if name not in pools:
            yield _no_pool((*here, "pools", str(name)), str(name), pools)
    for name, queue in _mapping(said.get("queues")).items():
        pool = _said(queues.get(name)).get("pool")
        if pool is not None and "workers" in _said(queue):
            message = f"queue {name} has the workers of pool {pool}"
            hint = f"say how many there are in pools: {pool} of the environment"
            yield Finding((*here, "queues", str(name), "workers"), message, hint, at="key")


def _no_pool(path: Steps, pool: str, pools: Mapping[str, Any]) -> Finding:
    hint = nearest(pool, list(pools)) or f"pools has {', '.join(pools) or 'none'}"
    return Finding(path, f'no pool "{pool}"', hint)


def _said(holder: object) -> Mapping[str, Any]:
    """What a part of the spec says: from YAML, or of a model."""
    if isinstance(holder, BaseModel):
        said = {name: getattr(holder, name) for name in holder.model_fields_set}
        return {name: value for name, value in said.items() if value is not None}
    return _mapping(holder)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
