"""Commands of jobs, runs, servers and the system."""
