"""Routes of the dashboard."""

from __future__ import annotations

from ...features.accounts import oidc_pages
from ...features.accounts import pages as account_pages
from ...features.audit import pages as audit_pages
from ...features.batches import pages as batch_pages
from ...features.calendars import pages as calendar_pages
from ...features.events import pages as event_pages
from ...features.flows import pages as flow_pages
from ...features.overrides import pages as override_pages
from ...features.search import pages as search_pages
from ...features.timeline import pages as timeline_pages
from ...features.triage import pages as triage_pages
from . import actions, guides, jobs, language, limits, overview, run_log, runs, static_files, system

ROUTERS = tuple(
    part.router
    for part in (
        account_pages,
        oidc_pages,
        actions,
        triage_pages,
        search_pages,
        overview,
        timeline_pages,
        jobs,
        override_pages,
        runs,
        flow_pages,
        batch_pages,
        run_log,
        calendar_pages,
        system,
        guides,
        limits,
        event_pages,
        audit_pages,
        language,
        static_files,
    )
)
"""Routers to include separately: the overview's path is empty, and FastAPI allows an empty path only with a prefix."""
