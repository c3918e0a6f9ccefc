"""Batches of runs, with callbacks."""
