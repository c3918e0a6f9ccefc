"""The plan: what happens to each file, and the rules of managed files, moved files and upgrades."""
