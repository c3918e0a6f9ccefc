"""The index of runs' texts: which runs may hold what is searched for, found without reading them all."""
