"""Fault storms: nodes in processes of their own, faults by chance, and a checker that knows nothing of the scheduler's code.

``uv run python tests/storms --help`` says how to run one; ``tests/storms/README.md`` what they prove.
"""
