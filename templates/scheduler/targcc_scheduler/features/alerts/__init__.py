"""Alerts about runs: rules, channels, delivery, digest."""
