"""Read T-SQL data scripts: tokens, expressions, statements that give rows."""
