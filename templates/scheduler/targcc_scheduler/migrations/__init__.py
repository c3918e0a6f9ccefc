"""The scheduler's tables, version by version."""
