"""The page of when nothing runs: calendars, and maintenance windows."""
