"""Limits by key, in the API."""
