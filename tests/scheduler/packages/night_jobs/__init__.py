"""Jobs of a night with failures."""
