"""A job of a spec."""
