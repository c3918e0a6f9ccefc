"""Routes of the dashboard: the pages of the features, then the kernel's."""

from __future__ import annotations

from ...kernel.feature import Pages, load
from . import (
    actions,
    guides,
    jobs,
    language,
    limits,
    overview,
    palette,
    run_log,
    runs,
    static_files,
    system,
)

ROUTERS = (
    *load(Pages),
    *(
        part.router
        for part in (
            *(actions, overview, jobs, runs, run_log),
            *(system, guides, limits, language, palette, static_files),
        )
    ),
)
"""Routers to include separately: the overview's path is empty, and FastAPI allows an empty path only with a prefix."""
