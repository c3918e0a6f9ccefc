"""A spec becomes YAML: a whole file, or one change that leaves the rest as it stands."""
