"""Requests that were answered, kept so that a repetition gets the same answer."""
