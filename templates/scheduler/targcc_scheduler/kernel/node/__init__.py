"""A node: recurring scheduler, heartbeat, maintenance, pruner."""
