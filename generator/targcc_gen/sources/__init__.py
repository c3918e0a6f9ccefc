"""Rows become jobs. Each old scheduler is a source of its own: a room with its tables and how its rows are read."""
