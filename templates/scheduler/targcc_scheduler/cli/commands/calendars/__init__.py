"""The commands about when nothing runs: calendars, and maintenance windows."""
