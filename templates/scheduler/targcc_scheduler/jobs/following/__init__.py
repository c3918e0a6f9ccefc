"""Jobs that follow others, and what a run sees of those that it waited for."""
