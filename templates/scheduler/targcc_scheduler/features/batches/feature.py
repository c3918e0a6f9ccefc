"""The feature batches: batches of runs that end together."""

from ...kernel.feature import AfterSettle, Commands, Feature, Pages, Panel, Routes

FEATURE = Feature(
    __name__,
    needs=(
        "flows",
        "triage",
    ),
    parts=(
        AfterSettle("effects:"),
        Routes("api:router", paths=("batches",)),
        Pages("pages:router"),
        Panel("panels:of_run", "run"),
        Commands("commands:batch_group", "batch", after="flow"),
    ),
)
