"""A job after its first rendering: changes from either side, renaming, removal."""
