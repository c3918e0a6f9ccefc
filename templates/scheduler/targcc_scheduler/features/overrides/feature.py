"""The feature overrides: options of a job that people change without a deployment."""

from ...kernel.feature import Change, Commands, Feature, Pages, Routes

FEATURE = Feature(
    __name__,
    parts=(
        Change("rows:MARK", "overrides"),
        Routes("api:router", paths=("overrides", "jobs/*/overrides")),
        Pages("pages:router"),
        Commands("commands:override_group", "override", after="backfill"),
    ),
)
