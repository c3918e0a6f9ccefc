"""Flows: steps over jobs, with conditions and fan-out."""
