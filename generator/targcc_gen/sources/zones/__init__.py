"""The time zone of an old server, by any of its names."""
