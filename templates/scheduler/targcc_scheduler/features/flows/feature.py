"""The feature flows: flows of steps."""

from ...kernel.feature import AfterSettle, Commands, Feature, Pages, Routes

FEATURE = Feature(
    __name__,
    parts=(
        AfterSettle("effects:"),
        Routes("api:router", paths=("flows",)),
        Pages("pages:router"),
        Commands("commands:flow_group", "flow", after="inbox"),
    ),
)
