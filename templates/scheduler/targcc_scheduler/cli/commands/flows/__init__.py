"""The commands of flows."""
