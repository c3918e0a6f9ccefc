"""The routes of the dashboard."""

from __future__ import annotations

from . import actions
from .pages import jobs, login, overview, runs, static_files, system

ROUTERS = tuple(
    part.router for part in (login, actions, overview, jobs, runs, system, static_files)
)
"""To be included one by one: the first page has no path of its own, and so needs the prefix."""
