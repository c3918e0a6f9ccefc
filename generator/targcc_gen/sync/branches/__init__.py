"""What two branches wrote into generated files becomes one, where that can be told from the spec."""
