"""Execution of attempts: claimer, runner, recorder, settlement."""
