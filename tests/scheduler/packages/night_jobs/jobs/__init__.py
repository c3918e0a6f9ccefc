"""Jobs of the night."""
