"""An alert as the page of a mail: small, nothing is fetched, and every text that people wrote may run either way."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ...core.text import visible
from ..message import Notice

_COLORS = {
    "failure": "#b42318",
    "late": "#b42318",
    "node": "#b42318",
    "unknown": "#b42318",
    "escalation": "#b42318",
    "slow": "#b54708",
    "missed": "#b54708",
    "success": "#067647",
    "recovered": "#067647",
}
_PLAIN_COLOR = "#344054"
_FONT = "font:15px/1.5 -apple-system,'Segoe UI',Roboto,Arial,sans-serif;color:#1d2939"
_BUTTON = (
    "display:inline-block;margin:0 8px 8px 0;padding:7px 14px;border-radius:6px;"
    "background:#1d4ed8;color:#ffffff;text-decoration:none"
)
_PRE = (
    "margin:16px 0 0;padding:12px;border-radius:6px;background:#f2f4f7;"
    "font:13px/1.45 Consolas,Menlo,monospace;white-space:pre-wrap;overflow-wrap:anywhere"
)


def mail_page(message: Notice) -> str:
    """The page."""
    color = _COLORS.get(message.kind, _PLAIN_COLOR)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{_text(message.title)}</title></head>
<body style="margin:0;padding:16px;background:#ffffff;{_FONT}">
<div style="max-width:640px;margin:0 auto">
<h1 dir="auto" style="margin:0 0 12px;padding:2px 12px;border-inline-start:5px solid {color};font-size:19px">\
{_text(message.title)}</h1>
{"".join(_parts(message))}</div>
</body>
</html>
"""


def _parts(message: Notice) -> Iterable[str]:
    if message.message:
        yield f'<p dir="auto" style="margin:0 0 12px">{_text(message.message)}</p>\n'
    if message.facts:
        rows = "".join(
            f'<tr><th scope="row" style="padding:2px 16px 2px 0;text-align:start;font-weight:normal;color:#667085">'
            f'{_text(name)}</th><td dir="auto" style="padding:2px 0">{_text(value)}</td></tr>\n'
            for name, value in message.facts
        )
        yield f'<table style="border-collapse:collapse;margin:0 0 12px">\n{rows}</table>\n'
    for section in message.sections:
        lines = "".join(_line(text, url) for text, url in section.lines)
        yield (
            f'<h2 style="margin:16px 0 4px;font-size:16px">{_text(section.title)}</h2>\n'
            f'<ul style="margin:0;padding-inline-start:20px">\n{lines}</ul>\n'
        )
    buttons = "".join(
        f'<a href="{_text(url)}" style="{_BUTTON}">{_text(label)}</a>\n'
        for label, url in message.links or (("Open the dashboard", message.url),)
    )
    yield f'<p style="margin:16px 0 0">{buttons}</p>\n'
    if message.details:
        yield f'<pre dir="auto" style="{_PRE}">{_text(message.details, lines=True)}</pre>\n'


def _line(text: str, url: str) -> str:
    shown = (
        f'<a href="{_text(url)}" style="color:#1d4ed8">{_text(text)}</a>' if url else _text(text)
    )
    return f'<li dir="auto">{shown}</li>\n'


def _text(text: str, *, lines: bool = False) -> str:
    return escape(visible(text, lines=lines))
