"""The options of a job, and what its project adds to them."""
