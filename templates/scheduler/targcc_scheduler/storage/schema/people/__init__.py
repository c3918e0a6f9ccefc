"""Tables of people and programs."""
