"""What people may do who have no built-in role."""
