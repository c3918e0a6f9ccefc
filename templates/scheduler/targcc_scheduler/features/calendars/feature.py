"""The feature calendars: calendars of days off, and maintenance windows."""

from ...kernel.feature import Commands, Feature, Pages, Routes

FEATURE = Feature(
    __name__,
    parts=(
        Routes("api:router", paths=("calendars", "maintenance")),
        Pages("pages:router"),
        Commands("commands:calendar_group", "calendar", after="queue"),
        Commands("commands:maintenance_group", "maintenance", after="calendar"),
    ),
)
