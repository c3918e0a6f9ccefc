"""One job's files: its module, by a blueprint, and its test."""
