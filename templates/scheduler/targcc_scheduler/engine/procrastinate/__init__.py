"""The engine for PostgreSQL, on Procrastinate.

Its public API is used, with one exception, which ``entries.py`` names. ``tests/scheduler/engine`` proves it with the first and the last
of these versions.
"""

PROVEN = ("3.8", "3.11")
"""Procrastinate from the first of these versions on, and before the last."""
