from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

if TYPE_CHECKING:
    from acme.db import Session

app = FastAPI()
app.include_router(scheduler_router)


def session() -> Session: ...
