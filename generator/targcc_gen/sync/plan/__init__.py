"""The plan: the action for each file, and the rules of managed files, moved files and upgrades."""
