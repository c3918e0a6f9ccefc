"""One process among many: its heartbeat, the slots it creates, what it removes after some time."""
