"""Templates of a team: rendered in Jinja's sandbox, and checked before somebody uses them."""
