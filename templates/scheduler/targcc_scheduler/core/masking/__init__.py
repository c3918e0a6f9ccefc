"""Masking: the secret values that this process knows, in every form in which they go out; then what looks like a secret."""
