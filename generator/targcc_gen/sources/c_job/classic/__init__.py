"""Rows of TARGCC 4: their schedules, the codes that TaskManager has built in, a queue for each runner."""
