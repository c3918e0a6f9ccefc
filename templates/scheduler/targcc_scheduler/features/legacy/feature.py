"""The feature legacy: the move from TARGCC: owners, shadow, cut-over, classic jobs."""

from ...kernel.feature import ClaimCondition, Commands, ExternalJobs, Feature, Pages, Panel, Routes

FEATURE = Feature(
    __name__,
    parts=(
        ClaimCondition("claim:IS_OURS"),
        ExternalJobs("external_jobs:external_jobs"),
        Panel("panels:of_job", "job"),
        Pages("pages:router"),
        Routes("api:router", paths=("owners", "jobs/*/owner")),
        Commands("commands:owner_group", "owner", after="docs"),
        Commands("commands:shadow_group", "shadow", after="owner"),
        Commands("commands:cutover_group", "cutover", after="shadow"),
        Commands("commands:import_history", "import-history", after="completion"),
    ),
)
