"""The jobs of heartbeat-jobs, and the scheduler that runs them."""
