"""What needs a person: the inbox of failures, why something does not run, expectations, operations on many runs."""
