"""Jobs that were renamed: their rows go to the new name."""
