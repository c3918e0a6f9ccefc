"""T-SQL data scripts: tokens, literals, expressions, INSERT statements, and the walk over a script."""
