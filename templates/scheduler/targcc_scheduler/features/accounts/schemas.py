"""Sessions and tokens, as the API shows them: without what opens them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ...kernel.queries.run_search import LONGEST_SEARCH
from ...web.api.schema import Schema


class SessionOut(Schema):
    """A session: one signed-in browser."""

    id: str
    name: str
    role: str
    device: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


class TokenOut(Schema):
    """A token of a program, without its secret."""

    name: str
    role: str
    account: str
    scope: str
    prefix: str
    created_by: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class UserOut(Schema):
    """A user that may sign in with a password."""

    name: str
    role: str
    created_at: datetime
    last_login_at: datetime | None
    second_factor: bool


class ViewIn(BaseModel):
    """A search to save."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"search": "state:failed since:yesterday"}}
    )

    search: Annotated[str, Field(min_length=1, max_length=LONGEST_SEARCH)]


class ViewOut(Schema):
    """A saved search with its name."""

    name: str
    search: str
