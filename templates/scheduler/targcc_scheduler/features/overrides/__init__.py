"""Options of a deployed job, changed by an operator."""
