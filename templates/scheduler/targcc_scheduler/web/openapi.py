"""The REST API described: ``api/openapi.json`` for programs and ``api/docs`` for people, below the prefix, both for those who have signed in.

The page is rendered here, since the usual one loads its scripts from another site.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from ..core.version import __version__
from ..project import current
from ..security.roles import Principal, Role
from .api.router import router as api_router
from .authentication import api_needs
from .dashboard.flash import base_path
from .dashboard.page_route import PageRoute, page_needs
from .dashboard.rendering import render
from .problems import ApiRoute

router = APIRouter(include_in_schema=False)
_json = APIRouter(route_class=ApiRoute)
_page = APIRouter(route_class=PageRoute)


@dataclass(frozen=True, slots=True)
class Operation:
    """One route as the page shows it."""

    method: str
    path: str
    tag: str
    summary: str
    parameters: tuple[tuple[str, str, str], ...]
    body: str
    answer: str


@cache
def schema() -> dict[str, Any]:
    """The OpenAPI description."""
    found = get_openapi(
        title=f"{current().name}: jobs",
        version=__version__,
        description="Send a token: `Authorization: Bearer …`; make one with `targcc token create NAME`.",
        routes=api_router.routes,
    )
    found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{"token": []}]
    return found


def operations() -> list[Operation]:
    """Every route, in the order of the API."""
    return [
        _operation(method, path, said)
        for path, methods in schema()["paths"].items()
        for method, said in methods.items()
    ]


def _operation(method: str, path: str, said: dict[str, Any]) -> Operation:
    parameters = tuple(
        (item["name"], _kind(item["schema"]), item.get("description", ""))
        for item in said.get("parameters", [])
    )
    return Operation(
        method=method.upper(),
        path=path,
        tag=said["tags"][0],
        summary=said.get("description", "").strip(),
        parameters=parameters,
        body=_content(said.get("requestBody", {})),
        answer=_content(
            next(said["responses"][one] for one in ("200", "202") if one in said["responses"])
        ),
    )


def _content(said: dict[str, Any]) -> str:
    return _kind(said.get("content", {}).get("application/json", {}).get("schema", {}))


def _kind(described: dict[str, Any]) -> str:
    """A JSON Schema in a few words, with the names of the fields of what it refers to."""
    if "$ref" in described:
        name = described["$ref"].rpartition("/")[2]
        target = schema()["components"]["schemas"][name]
        if "enum" in target:
            return " | ".join(map(str, target["enum"]))
        return "{" + ", ".join(target.get("properties", {})) + "}"
    if "anyOf" in described:
        return " or ".join(_kind(one) for one in described["anyOf"] if one.get("type") != "null")
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


router.include_router(_json)
router.include_router(_page)
