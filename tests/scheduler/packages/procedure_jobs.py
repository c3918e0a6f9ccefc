"""Jobs as the blueprint ``stored-procedure`` writes them: the module names the procedure."""

from targcc_scheduler import job

PROCEDURE = "usp_Close"


@job("0 2 * * *", name="CloseMonth")
def close_month() -> None:
    """Close the month."""
