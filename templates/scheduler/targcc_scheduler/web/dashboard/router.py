"""The routes of the dashboard."""

from __future__ import annotations

from . import actions, oncall_actions, view_actions
from .batches import page as batches
from .calendars import page as calendars
from .files import page as files
from .flows import page as flows
from .limits import page as limits
from .live import following, log, webhooks
from .pages import (
    audit,
    bulk,
    guides,
    inbox,
    jobs,
    login,
    overrides,
    overview,
    runs,
    static_files,
    system,
)
from .pages.timeline import calendar, heatmap, timeline
from .reading import choosing
from .signing_in import account, oidc

ROUTERS = tuple(
    part.router
    for part in (
        login,
        oidc,
        actions,
        oncall_actions,
        view_actions,
        overview,
        inbox,
        calendar,
        timeline,
        heatmap,
        jobs,
        overrides,
        runs,
        flows,
        batches,
        log,
        following,
        files,
        bulk,
        calendars,
        system,
        guides,
        limits,
        webhooks,
        audit,
        account,
        choosing,
        static_files,
    )
)
"""Included one by one: the overview has an empty path, which FastAPI allows only together with a prefix."""
