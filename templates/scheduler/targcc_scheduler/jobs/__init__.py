"""What a job is, and how one is declared and found."""
