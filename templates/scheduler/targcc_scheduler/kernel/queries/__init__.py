"""Questions about jobs, runs, servers and history."""
