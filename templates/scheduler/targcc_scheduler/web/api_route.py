"""Route class of the REST API: problem JSON, ETags, partial responses and ``Idempotency-Key``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from . import responses
from .addresses import answering, routers
from .idempotency import HEADER, once
from .problems import GuardedRoute, Handler, Problem, with_database
from .responses import chosen_fields, fields_of, is_json, only


class ApiRoute(GuardedRoute):
    """Route of the REST API; answers every error as problem JSON."""

    reading: ClassVar[dict[str, ApiRoute]] = {}
    """GET routes by path."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        options["operation_id"] = options.get("operation_id") or endpoint.__name__
        super().__init__(path, endpoint, **options)
        if "GET" in (self.methods or ()):
            self.reading[path] = self

    @cached_property
    def fields(self) -> frozenset[str]:
        """Return the field names that the ``fields`` parameter accepts; empty if the route supports no partial response."""
        return fields_of(self.response_model)

    async def answer(self, handler: Handler, request: Request) -> Response:
        """Return the handler's answer, or the error as problem JSON."""
        try:
            if request.method == "GET":
                return await self._shown(handler, request)
            return await with_database(handler, request)
        except Problem as problem:
            return problem.response()
        except RequestValidationError as error:
            return _unprocessable(error).response()
        except HTTPException as error:
            return Problem(error.status_code, "Refused", str(error.detail)).response()

    async def carry_out(self, handler: Handler, request: Request) -> Response:
        """Run the handler with ``If-Match`` and ``Idempotency-Key`` applied.

        ``If-Match`` refuses a change if the version differs. A POST with a repeated ``Idempotency-Key`` runs once.
        """
        if request.method != "GET" and "If-Match" in request.headers:
            handler = partial(self._if_unchanged, handler)
        if request.method == "POST" and HEADER in request.headers:
            return await once(handler, request)
        return await handler(request)

    async def _shown(self, handler: Handler, request: Request) -> Response:
        """Return the answer of a GET route with the requested fields and an ETag; status 304 if ``If-None-Match`` matches."""
        chosen = chosen_fields(request, self.fields)
        answer = await with_database(handler, request)
        if not is_json(answer):
            return answer
        whole = bytes(answer.body)
        answer = only(answer, chosen) if chosen else answer
        tag = responses.tag(self.path, whole, bytes(answer.body))
        if responses.fits(request.headers.get("If-None-Match"), tag, exactly=True):
            return Response(status_code=304, headers={"ETag": tag})
        answer.headers["ETag"] = tag
        return answer

    async def _if_unchanged(self, handler: Handler, request: Request) -> Response:
        """Run the handler if the resource's version matches ``If-Match``.

        Raises:
            Problem: the resource was changed meanwhile, or the route changes no resource with a version.
        """
        path = responses.changed_by(self.path)
        if path is None:
            raise Problem(
                412, "Changed meanwhile", "what this changes has no version: leave If-Match out"
            )
        shown = Request({**request.scope, "method": "GET", "query_string": b""}, request.receive)
        now = await with_database(APIRoute.get_route_handler(_reading(path)), shown)
        body = bytes(now.body)
        if not responses.fits(request.headers["If-Match"], responses.tag(path, body, body)):
            raise Problem(
                412,
                "Changed meanwhile",
                "somebody changed it since it was read: read it again, and decide anew",
            )
        return await handler(request)


def _reading(path: str) -> ApiRoute:
    """Return the GET route of a path. If no request has asked for its part of the API yet, the part is imported."""
    prefix, api, rest = path.rpartition("/api/")
    for router in routers(api + rest):
        if path in ApiRoute.reading:
            break
        answering(prefix, router)
    return ApiRoute.reading[path]


def _unprocessable(error: RequestValidationError) -> Problem:
    errors = [
        {"where": ".".join(map(str, item["loc"])), "message": item["msg"]}
        for item in error.errors()
    ]
    detail = "; ".join(f"{item['where']}: {item['message']}" for item in errors)
    return Problem(422, "The request cannot be understood", detail, errors=errors)
