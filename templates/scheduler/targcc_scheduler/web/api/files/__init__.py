"""The API of the files of runs."""
