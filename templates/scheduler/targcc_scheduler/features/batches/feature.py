"""The feature batches: batches of runs that end together."""

from ...kernel.feature import (
    AfterSettle,
    AtRerun,
    Commands,
    Feature,
    Pages,
    Panel,
    Retention,
    Routes,
)

FEATURE = Feature(
    __name__,
    needs=("flows", "triage"),
    parts=(
        AfterSettle("effects:"),
        AtRerun("effects:"),
        Retention("effects:prune"),
        Panel("panels:of_run", "run"),
        Routes("api:router", paths=("batches",)),
        Pages("pages:router"),
        Commands("commands:batch_group", "batch", after="flow"),
    ),
)
