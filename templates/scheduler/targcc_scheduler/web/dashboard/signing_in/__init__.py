"""Ways to sign in besides a password."""
