"""The ways a request can say who sends it."""
