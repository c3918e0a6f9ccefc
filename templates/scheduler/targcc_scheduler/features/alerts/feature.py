"""The feature alerts: alerts by mail, chat and HTTP."""

from ...kernel.feature import Change, Commands, Feature, Panel

FEATURE = Feature(
    __name__,
    needs=("triage",),
    parts=(
        Change("model:MARK", "alerts"),
        Panel("panels:of_system", "system"),
        Commands("commands:alert_group", "alert", after="heatmap"),
        Commands("commands:alert_rules", "alert-rules", after="alert"),
    ),
)
