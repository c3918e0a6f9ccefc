"""Batches, from async code and from plain code: created as one, cancelled, and done again as far as they failed."""
