"""Decides what happens to each file: the rules, and the plan that they make."""
