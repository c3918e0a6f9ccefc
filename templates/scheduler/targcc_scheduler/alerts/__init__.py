"""Alerts about runs: whose rule holds, what an alert says, and the channels it goes by."""
