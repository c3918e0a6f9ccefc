"""The scheduler inside another application."""
