"""Engines make runs claimable, wake workers and call the executor. `port.py` says what an engine has to do."""
