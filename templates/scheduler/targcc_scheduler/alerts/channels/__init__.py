"""The ways an alert can go, by name."""
