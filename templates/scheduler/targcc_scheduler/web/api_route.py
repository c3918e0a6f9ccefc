"""The routes of the REST API: what goes wrong is answered as problem JSON, and a repeated request is carried out once."""

from __future__ import annotations

from functools import partial

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from .idempotency import HEADER, once
from .problems import GuardedRoute, Handler, Problem, with_database


class ApiRoute(GuardedRoute):
    """A route of the REST API: whatever goes wrong is answered as problem JSON."""

    async def answer(self, handler: Handler, request: Request) -> Response:
        """The handler's answer, or the problem."""
        try:
            if request.method == "POST" and HEADER in request.headers:
                handler = partial(once, handler)
            return await with_database(handler, request)
        except Problem as problem:
            return problem.response()
        except RequestValidationError as error:
            return _unprocessable(error).response()
        except HTTPException as error:
            return Problem(error.status_code, "Refused", str(error.detail)).response()


def _unprocessable(error: RequestValidationError) -> Problem:
    errors = [
        {"where": ".".join(map(str, item["loc"])), "message": item["msg"]}
        for item in error.errors()
    ]
    detail = "; ".join(f"{item['where']}: {item['message']}" for item in errors)
    return Problem(422, "The request cannot be understood", detail, errors=errors)
