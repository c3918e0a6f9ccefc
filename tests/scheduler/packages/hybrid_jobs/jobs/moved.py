"""A job that moved into the code."""

from targcc_scheduler import job


@job("0 5 * * *", name="Moved already")
def moved() -> None:
    """Do what the procedure did."""
