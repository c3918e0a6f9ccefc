"""The hooks around an attempt, where it runs."""
