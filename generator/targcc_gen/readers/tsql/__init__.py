"""Read the rows of T-SQL data scripts: tokens, expressions, statements."""
