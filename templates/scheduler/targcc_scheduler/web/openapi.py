"""Description of the REST API below the prefix: ``api/openapi.json`` for programs, ``api/docs`` for people. Both need a sign-in.

This module renders the page itself, since FastAPI's page loads scripts from a foreign site.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from ..core.identity import Principal, Role
from ..core.version import __version__
from ..project import current
from . import responses
from .api.router import router as api_router
from .api_route import ApiRoute
from .authentication import api_needs
from .dashboard.flash import base_path
from .dashboard.page_route import PageRoute, page_needs
from .dashboard.rendering import render
from .idempotency import HEADER

_JSON = "application/json"
_PROBLEM = "application/problem+json"
_KEY = {
    "name": HEADER,
    "in": "header",
    "schema": {"type": "string", "maxLength": 200},
    "description": "Idempotency key. A second request with the same key within 24 hours changes nothing and gets the first response; while the first request is in progress, the status is 409 with `Retry-After`.",
}
_NOT_ANSWERED = "The first request with this key is in progress"
_RETRY_AFTER = {
    "schema": {"type": "integer"},
    "description": f"Seconds to wait before the next try, while the first request with this `{HEADER}` is in progress.",
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string"},
    "description": "`ETag` of the resource as the client read it. If the resource has changed since, the request changes nothing and the status is 412.",
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "schema": {"type": "string"},
    "description": "`ETag` of an earlier response. If the new response would be the same, the status is 304 without a body.",
}

_LINK = {
    "schema": {"type": "string"},
    "description": 'Link to the next page: `<…?cursor=…>; rel="next"`. Absent on the last page.',
}

_json = APIRouter(route_class=ApiRoute)
_page = APIRouter(route_class=PageRoute)


@dataclass(frozen=True, slots=True)
class Operation:
    """A route on the page ``api/docs``."""

    method: str
    path: str
    tag: str
    summary: str
    parameters: tuple[tuple[str, str, str], ...]
    body: str
    answer: str


@cache
def schema() -> dict[str, Any]:
    """Return the OpenAPI description."""
    document = get_openapi(
        title=f"{current().name}: jobs",
        version=__version__,
        description="Send a token as `Authorization: Bearer …`. Create a token with `targcc token create NAME`.",
        routes=api_router.routes,
    )
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    _say_problems(document)
    return document


def _say_problems(found: dict[str, Any]) -> None:
    """Add headers and responses shared by all routes, and set the media type of errors to problem JSON.

    FastAPI declares errors with the media type of the success response.
    """
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            parameters = operation.setdefault("parameters", [])
            if method == "post":
                parameters.append(_KEY)
                refusal = operation["responses"].setdefault("409", _problem(_NOT_ANSWERED))
                refusal["headers"] = {"Retry-After": _RETRY_AFTER}
            if method == "get":
                _say_shown(path, operation)
            else:
                operation["responses"]["412"] = _problem(
                    "The resource has changed since the client read it"
                )
                if responses.changed_by(path) is not None:
                    parameters.append(_IF_MATCH)
            for status, response in operation["responses"].items():
                if status >= "400" and _JSON in response.get("content", ()):
                    response["content"] = {_PROBLEM: response["content"][_JSON]}


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemOut"}
    return {"description": description, "content": {_JSON: {"schema": schema}}}


def _say_shown(path: str, operation: dict[str, Any]) -> None:
    """Add ETags and the ``fields`` parameter to a GET route."""
    content, fields = operation["responses"]["200"]["content"], ApiRoute.reading[path].fields
    if fields:
        a_row = {"type": "object"}
        is_list = content[_JSON]["schema"].get("type") == "array"
        content[responses.MEDIA_TYPE] = {
            "schema": {"type": "array", "items": a_row} if is_list else a_row
        }
        operation["parameters"] += [
            {
                "name": responses.PARAMETER,
                "in": "query",
                "schema": {"type": "string"},
                "description": f"Fields to return, separated by commas. Known fields: {', '.join(sorted(fields))}. The response has the media type `{responses.MEDIA_TYPE}`.",
            }
        ]
    if _JSON in content:
        operation["parameters"].append(_IF_NONE_MATCH)
        operation["responses"]["304"] = {"description": "The client has the current version"}
        operation["responses"]["200"]["headers"] = {
            "ETag": {"schema": {"type": "string"}, "description": "Version of the resource."},
            **({"Link": _LINK} if _is_paged(operation) else {}),
        }


def _is_paged(operation: dict[str, Any]) -> bool:
    return any(parameter["name"] == "cursor" for parameter in operation["parameters"])


def operations() -> list[Operation]:
    """Return every route, in the order of the API."""
    return [
        _operation(method, path, operation)
        for path, methods in schema()["paths"].items()
        for method, operation in methods.items()
    ]


def _operation(method: str, path: str, operation: dict[str, Any]) -> Operation:
    parameters = tuple(
        (item["name"], _kind(item["schema"]), item.get("description", ""))
        for item in operation.get("parameters", [])
    )
    return Operation(
        method=method.upper(),
        path=path,
        tag=operation["tags"][0],
        summary=operation.get("description", "").strip(),
        parameters=parameters,
        body=_content(operation.get("requestBody", {})),
        answer=_content(
            next(
                operation["responses"][status]
                for status in ("200", "202")
                if status in operation["responses"]
            )
        ),
    )


def _content(operation: dict[str, Any]) -> str:
    content = operation.get("content", {})
    if content and _JSON not in content:
        return str(next(iter(content)))
    return _kind(content.get(_JSON, {}).get("schema", {}))


def _kind(described: dict[str, Any]) -> str:
    """Describe a JSON Schema in a few words; a reference becomes the field names or enum values of its target."""
    if "$ref" in described:
        name = described["$ref"].rpartition("/")[2]
        target = schema()["components"]["schemas"][name]
        if "enum" in target:
            return " | ".join(map(str, target["enum"]))
        return "{" + ", ".join(target.get("properties", {})) + "}"
    if "anyOf" in described:
        return " or ".join(
            _kind(variant) for variant in described["anyOf"] if variant.get("type") != "null"
        )
    if described.get("type") == "array":
        return f"list of {_kind(described['items'])}"
    return str(described.get("format") or described.get("type") or "")


@_json.get("/api/openapi.json")
async def openapi(
    request: Request, _: Annotated[Principal, Depends(api_needs(Role.VIEWER))]
) -> Response:
    """The API for programs."""
    return JSONResponse({**schema(), "servers": [{"url": base_path(request)}]})


@_page.get("/api/docs")
async def page(
    request: Request, principal: Annotated[Principal, Depends(page_needs(Role.VIEWER))]
) -> Response:
    """The API for people."""
    address = str(request.url.replace(path=base_path(request), query=""))
    return render(request, "pages/api.html", principal, operations=operations(), address=address)


router = APIRouter(routes=[*_json.routes, *_page.routes])
