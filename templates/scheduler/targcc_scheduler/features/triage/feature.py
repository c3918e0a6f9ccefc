"""The feature triage: inbox of error groups, bulk operations, reasons why a job does not run."""

from ...kernel.feature import Change, Commands, Feature, Loop, Pages, Retention, Routes

FEATURE = Feature(
    __name__,
    parts=(
        Change("bulk:GOES_ON", "bulk"),
        Loop("loops:BulkOperations", "operations"),
        Loop("loops:LateCheck", "rounds"),
        Loop("loops:pings", "pings"),
        Retention("bulk:remove_old"),
        Routes(
            "api:router",
            paths=("inbox", "seen", "bulk", "jobs/*/backfill", "jobs/*/why", "runs/*/why"),
        ),
        Pages("pages:router"),
        Commands("commands:inbox_group", "inbox", after="run"),
        Commands("commands:why", "why", after="limits"),
        Commands("commands:bulk_group", "bulk", after="alert-rules"),
        Commands("commands:backfill", "backfill", after="bulk"),
    ),
)
