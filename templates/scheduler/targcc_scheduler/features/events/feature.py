"""The feature events: webhooks and handlers of events."""

from ...kernel.feature import Commands, Feature, Loop, OnRetry, Pages, Retention, Routes

FEATURE = Feature(
    __name__,
    parts=(
        OnRetry("model:note_retries"),
        Loop("loops:webhooks", "webhooks"),
        Retention("model:remove_old"),
        Routes("api:router", paths=("webhooks",)),
        Pages("pages:router"),
        Commands("commands:webhook_group", "webhook", after="secret"),
    ),
)
