"""Features beside the life of a run; each folder is one feature, and its ``feature.py`` says what the feature adds."""

FEATURES = (
    "accounts",
    "overrides",
    "legacy",
    "batches",
    "flows",
    "timeline",
    "triage",
    "search",
    "calendars",
    "events",
    "alerts",
    "audit",
    "doctor",
)
"""Names of the built-in features. The order is that of routes, of commands in the help, and of effects."""
