"""Users, tokens, sessions and roles: who may sign in, and what they may do."""
