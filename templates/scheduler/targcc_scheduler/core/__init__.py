"""Values that every layer may use: states, clock, errors, texts, secrets, masking."""
