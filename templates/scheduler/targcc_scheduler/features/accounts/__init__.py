"""Users, roles, tokens, sessions, second factor, OpenID Connect."""
