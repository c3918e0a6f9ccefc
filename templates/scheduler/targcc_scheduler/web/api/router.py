"""Router of the REST API, in the order of its description."""

from __future__ import annotations

from fastapi import APIRouter

from ...features.accounts import api as account_api
from ...features.audit import api as audit_api
from ...features.batches import api as batch_api
from ...features.calendars import api as calendar_api
from ...features.events import api as event_api
from ...features.flows import api as flow_api
from ...features.legacy import api as legacy_api
from ...features.overrides import api as override_api
from ...features.timeline import api as timeline_api
from ...features.triage import api as triage_api
from . import events, files, jobs, limits, runs, system

PARTS = tuple(
    part.router
    for part in (
        *(
            jobs,
            override_api,
            legacy_api,
            runs,
            files,
            flow_api,
            batch_api,
            limits,
            events,
            timeline_api,
            triage_api,
            calendar_api,
        ),
        *(system, event_api, audit_api, account_api),
    )
)
router = APIRouter()
for part in PARTS:
    router.include_router(part)
