"""Every read for people."""
