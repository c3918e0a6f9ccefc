"""Whether a new schedule runs when the old one did: clock changes, other schedulers' readings, the comparison."""
