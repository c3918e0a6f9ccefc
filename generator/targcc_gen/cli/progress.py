"""A progress bar for work of more than a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from targcc_gen.render import Tree
    from targcc_gen.spec import Spec
    from targcc_gen.sync import Plan

_PATIENCE = 1.0


class Bar:
    """A progress bar on standard error that appears after a second; only on a terminal.

    Args:
        label: The name of the work.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._started = time.monotonic()
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show `done` of `total` units as finished."""
        if self._progress is None:
            if time.monotonic() - self._started < _PATIENCE or not sys.stderr.isatty():
                return
            self._start(total)
        self._progress.update(self._task, completed=done)

    def _start(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(self._label, total=total)
        self._progress.start()


def rendered(spec: Spec, text: str) -> Tree:
    """Render the project of a spec, with a progress bar.

    Args:
        spec: The spec.
        text: The text of the spec file.
    """
    from targcc_gen.render import render_project

    with Bar("Rendering jobs") as bar:
        return render_project(spec, spec_text=text, progress=bar)


def write(plan: Plan) -> None:
    """Apply a plan, with a progress bar."""
    from targcc_gen.sync import apply

    with Bar("Writing files") as bar:
        apply(plan, progress=bar)
