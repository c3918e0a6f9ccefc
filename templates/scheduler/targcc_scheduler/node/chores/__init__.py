"""What a node does beside runs: operations on many of them, expectations, the outgoing heartbeat."""
