"""Alerts as rows: whose rule holds, how many went out, which are not over, and what is still to be sent."""
