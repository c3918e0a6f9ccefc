"""A node: recurring scheduler, heartbeat, maintenance, pruner, keepalive process, releases."""
