"""Commands about the files of runs."""
