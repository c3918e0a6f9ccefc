"""Read jobs, runs, nodes, queues, limits, statistics and history."""
