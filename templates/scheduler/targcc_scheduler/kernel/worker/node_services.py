"""The services that the parts of a node share: database, engine, clock, settings, hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ...core.clock import Clock
from ...db.transactions import Store
from ...settings import Settings
from ..alert_events import AlertEvent
from ..engine.port import Engine
from ..jobs.hooks import Hooks


@dataclass(frozen=True, slots=True)
class NodeServices:
    """Hold the services that the parts of a node share.

    Args:
        store: The database.
        engine: Offers runs.
        clock: Tells the time.
        settings: Intervals and grace periods.
        notify: Takes an alert event and returns without waiting for delivery.
        hooks: The project's hooks, around attempts and after runs.
    """

    store: Store
    engine: Engine
    clock: Clock
    settings: Settings
    notify: Callable[[AlertEvent], None]
    hooks: Hooks = field(default_factory=Hooks)
