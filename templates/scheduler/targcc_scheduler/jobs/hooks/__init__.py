"""What a project hangs on its runs: code around each attempt, and code that hears what became of runs."""
