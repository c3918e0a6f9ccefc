"""A job after its first rendering: it leaves the spec, is removed, renamed, or changed on either side."""
