"""REST API of jobs, runs and the system."""
