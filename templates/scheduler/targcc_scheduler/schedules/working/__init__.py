"""Days on which, and hours in which, nothing starts: named calendars, and schedules that respect them."""
