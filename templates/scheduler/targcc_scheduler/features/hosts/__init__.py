"""Run the scheduler inside another application."""
