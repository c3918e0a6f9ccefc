"""Its jobs."""
