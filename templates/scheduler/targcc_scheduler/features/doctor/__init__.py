"""Checks of code, database and tables."""
