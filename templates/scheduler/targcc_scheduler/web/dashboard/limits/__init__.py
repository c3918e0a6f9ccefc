"""Limits by key, on the pages."""
