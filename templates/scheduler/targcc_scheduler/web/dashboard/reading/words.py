"""Words of the code, as the pages say them."""

from __future__ import annotations

from ....core.languages.catalogue import marked
from ....core.languages.reader import Words

ACTIONS = Words(
    {
        "retry": marked("Retry"),
        "cancel": marked("Cancel"),
        "delete": marked("Delete"),
        "run-now": marked("Run now"),
        "pause": marked("Pause their jobs"),
        "queue": marked("Move to another queue"),
        "priority": marked("Change the priority"),
        "discard": marked("Discard from the inbox"),
    }
)
"""What can be done to many runs."""
BULK_STATES = Words(
    {
        "running": marked("running"),
        "done": marked("done"),
        "stopped": marked("stopped"),
        "failed": marked("failed"),
    }
)
"""How far an operation on many runs is."""
STANDINGS = Words(
    {
        "open": marked("open"),
        "snoozed": marked("snoozed"),
        "muted": marked("muted"),
        "done": marked("done"),
    }
)
"""What has been done about a failure."""
OVERLAPS = Words(
    {
        "skip": marked("the next slot is skipped"),
        "queue": marked("the next slot waits"),
        "allow": marked("the next slot runs beside it"),
    }
)
"""What happens to a slot that comes while the job is busy."""
MISFIRES = Words(
    {
        "run_once": marked("the newest missed slot is run"),
        "skip": marked("missed slots are not run"),
        "run_all": marked("every missed slot is run"),
    }
)
"""What happens to slots that passed during an outage."""
DELIVERIES = Words(
    {
        "waiting": marked("waiting"),
        "delivered": marked("delivered"),
        "failed": marked("failed"),
    }
)
"""How far a message to a webhook is."""
