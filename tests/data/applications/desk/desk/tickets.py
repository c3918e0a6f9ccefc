import os

from fastapi import APIRouter

router = APIRouter(prefix="/tickets", tags=["tickets"])


@router.post("")
def open_ticket(text: str) -> dict[str, str | int]:
    return {"text": text, "process": os.getpid()}
