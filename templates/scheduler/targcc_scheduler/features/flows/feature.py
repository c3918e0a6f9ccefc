"""The feature flows: flows of steps."""

from ...kernel.feature import (
    AfterSettle,
    Commands,
    Feature,
    JobCheck,
    Jobs,
    Needed,
    Pages,
    Panel,
    Routes,
)

FEATURE = Feature(
    __name__,
    needs=("batches",),
    parts=(
        AfterSettle("effects:"),
        Needed("model:IS_NEEDED"),
        Jobs("declared:flow_declarations"),
        JobCheck("actions:wrong_steps"),
        Panel("panels:of_run", "run"),
        Routes("api:router", paths=("flows",)),
        Pages("pages:router"),
        Commands("commands:flow_group", "flow", after="inbox"),
    ),
)
