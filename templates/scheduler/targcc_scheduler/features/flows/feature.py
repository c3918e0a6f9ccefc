"""The feature flows: flows of steps."""

from ...kernel.feature import AfterSettle, Commands, Feature, Jobs, Needed, Pages, Routes

FEATURE = Feature(
    __name__,
    parts=(
        AfterSettle("effects:"),
        Needed("model:IS_NEEDED"),
        Jobs("declared:flow_declarations"),
        Routes("api:router", paths=("flows",)),
        Pages("pages:router"),
        Commands("commands:flow_group", "flow", after="inbox"),
    ),
)
