"""Keys of limits: those that nobody uses any more, and those of jobs that were renamed."""
