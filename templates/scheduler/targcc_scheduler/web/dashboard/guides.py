"""Guides of the scheduler as pages below `/help`."""

from __future__ import annotations

from itertools import pairwise

from fastapi import APIRouter, HTTPException, Request, Response
from markupsafe import Markup

from ...guides import GUIDES, guide
from .common import Viewer
from .page_route import PageRoute
from .rendering import render

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/help")
async def guides_page(request: Request, principal: Viewer) -> Response:
    """List the guides."""
    return render(request, "pages/guides.html", principal, guides=GUIDES)


@router.get("/help/{name}")
async def guide_page(request: Request, principal: Viewer, name: str) -> Response:
    """Show a guide."""
    if name not in GUIDES:
        raise HTTPException(404)
    return render(
        request, "pages/guide.html", principal, subject=GUIDES[name][1], guide=_html(name)
    )


def _html(name: str) -> Markup:
    """Render a guide as HTML; HTML inside the guide is escaped."""
    from markdown_it import MarkdownIt  # a dependency of rich

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(guide(name))
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", _anchor(inline.content))
    html = markdown.renderer.render(tokens, markdown.options, {})
    return Markup(html)  # noqa: S704 - HTML in the text itself is escaped


def _anchor(title: str) -> str:
    """Return the anchor of a heading."""
    return "".join(
        letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter in "-_"
    )
