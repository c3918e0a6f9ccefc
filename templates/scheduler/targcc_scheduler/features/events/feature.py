"""The feature events: webhooks and handlers of events."""

from ...kernel.feature import Commands, Feature, Pages, Routes

FEATURE = Feature(
    __name__,
    needs=("alerts",),
    parts=(
        Routes("api:router", paths=("webhooks",)),
        Pages("pages:router"),
        Commands("commands:webhook_group", "webhook", after="secret"),
    ),
)
