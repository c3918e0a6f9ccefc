"""Dashboard: pages of jobs, runs and the system."""
