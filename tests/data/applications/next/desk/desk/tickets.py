import os
from typing import Annotated

from fastapi import APIRouter, Depends

from desk.jobs.answer import answer
from desk.scheduler import Scheduler, get_scheduler

router = APIRouter(prefix="/tickets", tags=["tickets"])


@router.post("")
async def open_ticket(
    text: str, jobs: Annotated[Scheduler, Depends(get_scheduler)]
) -> dict[str, str | int]:
    run = await jobs.enqueue(answer, text=text)
    return {"text": text, "process": os.getpid(), "run": run}
