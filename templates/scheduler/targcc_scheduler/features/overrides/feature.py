"""The feature overrides: options of a job that people change without a deployment."""

from ...kernel.feature import Change, Commands, Feature, Pages, Panel, Routes

FEATURE = Feature(
    __name__,
    needs=("triage",),
    parts=(
        Change("rows:MARK", "overrides"),
        Routes("api:router", paths=("overrides", "jobs/*/overrides")),
        Pages("pages:router"),
        Panel("panels:of_job", "job"),
        Commands("commands:override_group", "override", after="backfill"),
    ),
)
