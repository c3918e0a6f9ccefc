"""Calendars of a spec: days off, and times in which nothing starts."""
