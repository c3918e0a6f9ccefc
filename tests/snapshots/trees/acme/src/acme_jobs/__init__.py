"""The jobs of acme-jobs, and the scheduler that runs them."""
