"""The API of when nothing runs: calendars, and maintenance windows."""
