"""The report on an import, for the people who decide on the cut-over: what came over, when it will run, what differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from targcc_gen.errors import InputError
from targcc_gen.evidence.model import Weighed
from targcc_gen.parity.compare import Difference
from targcc_gen.report.content import content
from targcc_gen.report.markdown import markdown
from targcc_gen.sources.model import Import

FORMATS = (".md", ".html", ".json")


def write_report(
    path: Path, result: Import, found: Sequence[Difference], weighed: Weighed | None = None
) -> None:
    """Write the report as Markdown, HTML or JSON, as the file's name asks.

    Args:
        path: The file.
        result: The end of every row.
        found: Where old and new schedules part.
        weighed: What the history says.

    Raises:
        InputError: The name ends in none of them, or the file cannot be written.
    """
    render = {".md": markdown, ".html": _html, ".json": _json}.get(path.suffix.lower())
    if render is None:
        raise InputError(
            f"{path}: a report is {', '.join(FORMATS)}", hint="Such as --report cutover.html"
        )
    text = render(content(result, found, weighed or Weighed()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def _json(said: dict[str, Any]) -> str:
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


def _html(said: dict[str, Any]) -> str:
    import jinja2

    template = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(said)
