"""The old server: its tables, its clock, the SQL for its side."""
