"""The feature alerts: alerts by mail, chat and HTTP."""

from ...kernel.feature import Change, Commands, Feature

FEATURE = Feature(
    __name__,
    parts=(
        Change("model:MARK", "alerts"),
        Commands("commands:alert_group", "alert", after="heatmap"),
        Commands("commands:alert_rules", "alert-rules", after="alert"),
    ),
)
