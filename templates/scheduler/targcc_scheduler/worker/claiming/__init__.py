"""How a node claims: what it can perform, what it may take without looking, and claims of which it did not hear whether they came through."""
