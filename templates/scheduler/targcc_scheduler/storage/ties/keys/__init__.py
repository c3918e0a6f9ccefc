"""Keys: of runs that are unique, and of calls that are made once."""
