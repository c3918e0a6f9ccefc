"""The files of a run on its page."""
