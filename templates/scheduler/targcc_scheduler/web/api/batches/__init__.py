"""Batches, in the API."""
