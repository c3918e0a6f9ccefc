"""Commands for secrets and the audit."""
