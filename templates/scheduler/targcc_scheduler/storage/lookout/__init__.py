"""One look at the database for all that wait for a change there."""
