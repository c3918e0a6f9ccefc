"""Finding runs by a search: what a run has to meet, and the newest that do."""
