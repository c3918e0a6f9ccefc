"""Maintenance windows: times in which no run of some queues, or of any, starts."""
