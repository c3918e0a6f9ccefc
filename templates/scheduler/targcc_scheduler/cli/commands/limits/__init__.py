"""The command of limits by key."""
