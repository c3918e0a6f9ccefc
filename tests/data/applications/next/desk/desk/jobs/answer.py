from desk.scheduler import job


@job()
async def answer(text: str) -> str:
    """Answer a ticket."""
    return f"yes, {text}"


@job("* * * * * *", misfire="skip", overlap="allow")
def remind() -> None:
    """Remind the desk of what is open, every second."""
