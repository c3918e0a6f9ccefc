"""What is kept with runs and not in their rows: files, large arguments, results."""
