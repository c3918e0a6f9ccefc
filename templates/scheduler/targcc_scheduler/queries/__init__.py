"""Reads for the dashboard, the API and the command line."""
