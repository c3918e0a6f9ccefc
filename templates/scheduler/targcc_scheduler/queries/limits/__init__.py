"""Keys of limits, for people."""
