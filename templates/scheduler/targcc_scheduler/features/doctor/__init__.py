"""Checks for code, database and tables, as run by ``targcc doctor``."""
