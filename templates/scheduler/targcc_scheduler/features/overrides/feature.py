"""The feature overrides: options of a job that people change without a deployment."""

from ...kernel.feature import Change, Commands, Feature, JobChanges, Pages, Panel, Routes

FEATURE = Feature(
    __name__,
    parts=(
        Change("rows:MARK", "overrides"),
        JobChanges("loops:OverrideWatch"),
        Panel("panels:of_job", "job"),
        Routes("api:router", paths=("overrides", "jobs/*/overrides")),
        Pages("pages:router"),
        Commands("commands:override_group", "override", after="backfill"),
    ),
)
