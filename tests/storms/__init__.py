"""Fault storms: nodes in separate processes, random faults, and a checker that shares no code with the scheduler.

``uv run python tests/storms --help`` shows how to run a storm; ``tests/storms/README.md`` says what storms prove.
"""
