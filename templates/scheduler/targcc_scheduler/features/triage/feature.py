"""The feature triage: inbox of error groups, bulk operations, reasons why a job does not run."""

from ...core.languages import marked
from ...kernel.feature import Change, Commands, Feature, Metrics, NavItem, Pages, Panel, Routes

FEATURE = Feature(
    __name__,
    needs=("calendars",),
    parts=(
        Change("bulk:GOES_ON", "bulk"),
        Routes(
            "api:router",
            paths=("inbox", "seen", "bulk", "jobs/*/backfill", "jobs/*/why", "runs/*/why"),
        ),
        Pages(
            "pages:router",
            nav=NavItem("/inbox", "inbox", marked("Inbox"), after="runs", limited=True),
        ),
        Panel("panels:of_job", "job"),
        Panel("panels:of_run", "run"),
        Panel("panels:of_runs", "runs"),
        Panel("panels:of_overview", "overview"),
        Metrics("metrics:figures"),
        Commands("commands:inbox_group", "inbox", after="run"),
        Commands("commands:why", "why", after="limits"),
        Commands("commands:bulk_group", "bulk", after="alert-rules"),
        Commands("commands:backfill", "backfill", after="bulk"),
    ),
)
