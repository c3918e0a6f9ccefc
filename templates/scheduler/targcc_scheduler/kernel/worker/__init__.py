"""Execution of attempts: executor, claimer, runner, worker processes, recorder, settlement."""
