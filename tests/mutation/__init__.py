"""Mutation testing: seeded small faults in the rules of the scheduler and the generator, and the quick tests that notice them."""
