from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

if TYPE_CHECKING:
    from acme.db import Session

app = FastAPI()


def session() -> Session: ...
