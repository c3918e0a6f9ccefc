"""Tables of work that hangs together."""
