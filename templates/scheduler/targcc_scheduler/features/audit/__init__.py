"""The audit: actions of people and programs, protected by a hash chain."""
