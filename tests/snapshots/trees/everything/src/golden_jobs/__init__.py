"""The jobs of golden-jobs, and the scheduler that runs them."""
