"""The feature triage: inbox of error groups, bulk operations, reasons why a job does not run."""

from ...core.languages import marked
from ...kernel.feature import (
    Change,
    Commands,
    Feature,
    Loop,
    Metrics,
    NavItem,
    Pages,
    Panel,
    Retention,
    Routes,
)

FEATURE = Feature(
    __name__,
    parts=(
        Change("bulk:GOES_ON", "bulk"),
        Loop("loops:BulkOperations", "operations"),
        Loop("loops:LateCheck", "rounds"),
        Loop("loops:pings", "pings"),
        Retention("bulk:remove_old"),
        Panel("panels:of_job", "job"),
        Panel("panels:of_run", "run"),
        Panel("panels:of_runs", "runs"),
        Panel("panels:of_overview", "overview"),
        Metrics("metrics:figures"),
        Routes(
            "api:router",
            paths=("inbox", "seen", "bulk", "jobs/*/backfill", "jobs/*/why", "runs/*/why"),
        ),
        Pages(
            "pages:router",
            nav=NavItem(
                "/inbox", "inbox", marked("Inbox"), after="runs", limited=True, shortcut="i"
            ),
        ),
        Commands("commands:inbox_group", "inbox", after="run"),
        Commands("commands:why", "why", after="limits"),
        Commands("commands:bulk_group", "bulk", after="alert-rules"),
        Commands("commands:backfill", "backfill", after="bulk"),
    ),
)
