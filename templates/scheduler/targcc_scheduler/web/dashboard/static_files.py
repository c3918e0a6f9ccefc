"""Static files of the pages: styles, scripts, pictures."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from ..problems import Problem
from .page_route import PageRoute
from .rendering import STATIC

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_STATIC_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}


@router.get("/static/{name}")
async def static_file(name: str) -> Response:
    """A style sheet, script or picture: the only files that are served, to everybody."""
    path = next((file for file in STATIC.iterdir() if file.name == name), None)
    if path is None or path.suffix not in _STATIC_TYPES:
        raise Problem(404, "No such file", "There is no file at this address.")
    return FileResponse(
        path,
        media_type=_STATIC_TYPES[path.suffix],
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )
