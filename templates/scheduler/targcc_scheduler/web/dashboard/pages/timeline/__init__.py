"""Pages that show time: the calendar, the timeline of a night, the heat map of the hours."""
