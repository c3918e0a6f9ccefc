"""What the tables are made of, and those of one subject each."""
