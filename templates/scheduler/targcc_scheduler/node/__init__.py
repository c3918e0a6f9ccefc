"""One process among many: its heartbeat, the slots it creates, what it throws away."""
