"""The routes of the dashboard."""

from __future__ import annotations

from . import actions
from .pages import jobs, login, overview, runs, static_files, system

ROUTERS = tuple(
    part.router for part in (login, actions, overview, jobs, runs, system, static_files)
)
"""Included one by one: the overview has an empty path, which FastAPI allows only together with a prefix."""
