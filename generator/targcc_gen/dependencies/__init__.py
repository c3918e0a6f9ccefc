"""Declare the scheduler as a dependency where a project declares its own dependencies."""
