"""The feature alerts: alerts by mail, chat and HTTP."""

from ...kernel.feature import Change, Commands, Feature, JobCheck, Loop, Panel

FEATURE = Feature(
    __name__,
    needs=("triage",),
    parts=(
        JobCheck("checks:alert_addresses"),
        Change("model:MARK", "alerts"),
        Loop("loops:alert_queue", "alerts", tasks=4),
        Loop("loops:AlertRules", "alert rules"),
        Loop("loops:alert_watch", "alert watch"),
        Panel("panels:of_system", "system"),
        Commands("commands:alert_group", "alert", after="heatmap"),
        Commands("commands:alert_rules", "alert-rules", after="alert"),
    ),
)
