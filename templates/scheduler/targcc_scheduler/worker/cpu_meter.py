"""The processor time of one attempt."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class CpuMeter:
    """Measures the processor time of a coroutine, step by step.

    Args:
        enter: Called when the coroutine goes to work.
        leave: Called when it waits again.
        steps: Whether coroutines are measured. Without, they are only awaited, ``enter`` and ``leave`` are not called, and
            what counts is the time that was added.

    What tasks the job starts by itself use is not counted: the event loop does not tell whose they are.
    """

    def __init__(
        self, enter: Callable[[], None], leave: Callable[[], None], *, steps: bool = True
    ) -> None:
        self._enter = enter
        self._leave = leave
        self._steps = steps
        self._seconds: float | None = 0.0 if steps else None
        self._is_in_step = False

    @property
    def cpu_ms(self) -> int | None:
        """So far, in milliseconds; ``None`` while nothing was measured."""
        return None if self._seconds is None else round(self._seconds * 1000)

    def add(self, seconds: float) -> None:
        """Count time that was measured elsewhere."""
        self._seconds = (self._seconds or 0.0) + seconds

    async def measure(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await a coroutine, measured if coroutines are."""
        return await (_Steps(coroutine, self) if self._steps else coroutine)

    def step(self, advance: Callable[[], Any]) -> Any:
        """One step of the coroutine, up to where it waits; of one that is awaited by another that is measured, as part of that."""
        if self._is_in_step:
            return advance()
        started = time.thread_time()
        self._is_in_step = True
        self._enter()
        try:
            return advance()
        finally:
            self._leave()
            self._is_in_step = False
            self.add(time.thread_time() - started)


class _Steps:
    def __init__(self, coroutine: Coroutine[Any, Any, Any], meter: CpuMeter) -> None:
        self._coroutine = coroutine
        self._meter = meter

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine = self._coroutine
        advance: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731 - replaced below
        while True:
            try:
                waiting_for = self._meter.step(advance)
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield waiting_for
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - all of it belongs to the coroutine
                advance = _thrower(coroutine, error)
            else:
                advance = _sender(coroutine, sent)


def _sender(coroutine: Coroutine[Any, Any, Any], value: Any) -> Callable[[], Any]:
    return lambda: coroutine.send(value)


def _thrower(coroutine: Coroutine[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(error)
