"""Jobs to look at."""
