"""Files as arguments and results of jobs, and arguments that are too large to stand in a run's row."""
