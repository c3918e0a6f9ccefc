"""Flows, on the pages."""
