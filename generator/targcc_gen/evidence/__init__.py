"""What the old server really did, held against what its rows say: which reading of a schedule its history supports."""
