"""The dashboard: pages of jobs, runs and the system."""
