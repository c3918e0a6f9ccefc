"""Upcoming and past runs on a time axis, heat map, trends."""
