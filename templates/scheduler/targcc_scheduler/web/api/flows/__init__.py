"""Flows, in the API."""
