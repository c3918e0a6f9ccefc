"""Hooks of a scheduler that an application has made: for functions that are not in the jobs package."""

from __future__ import annotations

from ...core.states import RunState
from ..registry import JobRegistry
from .around import A
from .events import Cancelled, Failed, Missed, Retrying, Skipped, Succeeded
from .hooks import Hooks
from .marks import AROUND


class Hooked:
    """What :class:`~...scheduler.Scheduler` has for hooks; each may be used as a decorator, before the scheduler starts."""

    _registry: JobRegistry

    @property
    def hooks(self) -> Hooks:
        """The hooks of this process; the jobs package is imported at the first look."""
        self._registry.definitions  # noqa: B018 - the hooks are found with the jobs
        return self._registry.hooks

    def around(self, hook: A) -> A:
        """Run ``hook`` around each attempt, outside those of the jobs package; see :func:`~.around.around`.

        For jobs with ``isolation="process"`` it has to stand at the top of a module, which their processes import.
        """
        self._registry.hooks.give(hook, AROUND)
        return hook

    def on_succeeded(self, handler: Succeeded) -> Succeeded:
        """Call ``handler`` with each run that has succeeded; see :func:`~.events.on_failed`, as for the others."""
        self._registry.hooks.give(handler, RunState.SUCCEEDED)
        return handler

    def on_failed(self, handler: Failed) -> Failed:
        """Call ``handler`` with each run that has failed for good."""
        self._registry.hooks.give(handler, RunState.FAILED)
        return handler

    def on_retrying(self, handler: Retrying) -> Retrying:
        """Call ``handler`` with each attempt that has failed and will be followed by another."""
        self._registry.hooks.give(handler, RunState.RETRYING)
        return handler

    def on_cancelled(self, handler: Cancelled) -> Cancelled:
        """Call ``handler`` with each run that was cancelled."""
        self._registry.hooks.give(handler, RunState.CANCELLED)
        return handler

    def on_missed(self, handler: Missed) -> Missed:
        """Call ``handler`` with each slot that has passed without a run."""
        self._registry.hooks.give(handler, RunState.MISSED)
        return handler

    def on_skipped(self, handler: Skipped) -> Skipped:
        """Call ``handler`` with each slot that was skipped."""
        self._registry.hooks.give(handler, RunState.SKIPPED)
        return handler
