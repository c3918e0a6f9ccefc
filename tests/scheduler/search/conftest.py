"""What the tests of this room get: nothing but the functions."""
