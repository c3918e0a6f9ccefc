"""The feature batches: batches of runs that end together."""

from ...kernel.feature import AfterSettle, AtRerun, Commands, Feature, Pages, Retention, Routes

FEATURE = Feature(
    __name__,
    parts=(
        AfterSettle("effects:"),
        AtRerun("effects:"),
        Retention("effects:prune"),
        Routes("api:router", paths=("batches",)),
        Pages("pages:router"),
        Commands("commands:batch_group", "batch", after="flow"),
    ),
)
