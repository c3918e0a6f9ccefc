"""The searches that people keep."""
