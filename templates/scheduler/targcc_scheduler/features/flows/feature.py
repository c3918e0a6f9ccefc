"""The feature flows: flows of steps."""

from ...kernel.feature import AfterSettle, Commands, Feature, Pages, Panel, Routes

FEATURE = Feature(
    __name__,
    needs=("batches",),
    parts=(
        AfterSettle("effects:"),
        Routes("api:router", paths=("flows",)),
        Pages("pages:router"),
        Panel("panels:of_run", "run"),
        Panel("panels:of_runs", "runs"),
        Commands("commands:flow_group", "flow", after="inbox"),
    ),
)
