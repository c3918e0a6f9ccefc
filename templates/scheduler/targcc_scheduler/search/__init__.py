"""What people write to find runs: one small language for the pages, the API and the command line. Pure: no database, no clock."""
