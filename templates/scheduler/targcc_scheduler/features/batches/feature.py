"""The feature batches: batches of runs that end together."""

from ...kernel.feature import AfterSettle, Commands, Feature, Pages, Routes

FEATURE = Feature(
    __name__,
    parts=(
        AfterSettle("effects:"),
        Routes("api:router", paths=("batches",)),
        Pages("pages:router"),
        Commands("commands:batch_group", "batch", after="flow"),
    ),
)
