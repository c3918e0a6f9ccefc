"""Jobs: declare, discover and register them; their arguments, options, hooks, context and result."""
