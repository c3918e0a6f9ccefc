"""Files and large arguments of an attempt, on the machine that runs it."""
