"""The database: dialects, transactions, tables, migrations."""
