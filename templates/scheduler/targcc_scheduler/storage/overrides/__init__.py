"""What people have changed of jobs while they are deployed."""
