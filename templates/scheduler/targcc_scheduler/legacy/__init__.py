"""What comes from the old server: its table of jobs, its history."""
