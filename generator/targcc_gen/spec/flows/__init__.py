"""Flows of a spec: named steps over its jobs."""
