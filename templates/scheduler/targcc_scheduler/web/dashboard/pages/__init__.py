"""The pages that show something; what changes something is in `actions.py`."""
