"""Sphinx configuration of the manual. ``uv run --group docs sphinx-build -W docs dist/manual`` builds the manual."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

import references  # noqa: E402 - beside this file
from targcc_gen import __version__  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "targcc-gen"
author = "the authors of targcc-gen"
release = version = __version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
templates_path = ["_templates"]
nitpicky = True
smartquotes = False  # of options, such as --role, stay two dashes

myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # `…` in the middle of shortened code

html_theme = "furo"
html_title = f"targcc-gen {release}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_show_sphinx = False
html_copy_source = True
html_sourcelink_suffix = ""
html_theme_options = {"top_of_page_buttons": ["view"]}
html_sidebars = {
    "**": [
        *("sidebar/brand.html", "sidebar/search.html", "sidebar/scroll-start.html"),
        *("sidebar/navigation.html", "versions.html", "sidebar/scroll-end.html"),
    ]
}
html_js_files = ["versions.js"]
pygments_style = "friendly"
pygments_dark_style = "monokai"

references.write_all()


def write_llms(app: Sphinx, error: Exception | None) -> None:
    """Write ``llms.txt``, a list of all pages with their first paragraphs, and ``llms-full.txt``, all pages in one file."""
    if error is not None or app.builder.format != "html":
        return
    texts = {
        name: Path(app.env.doc2path(name)).read_text(encoding="utf-8")
        for name in sorted(
            app.env.found_docs, key=lambda name: (name.startswith("reference/"), name)
        )
    }
    rows = [
        f"- [{app.env.titles[name].astext()}](_sources/{name}.md): {_first_paragraph(text)}"
        for name, text in texts.items()
    ]
    out = Path(app.outdir)
    head = f"# targcc-gen {release}\n\n> {_first_paragraph(texts['index'])}\n"
    (out / "llms.txt").write_text("\n".join([head, "## Pages\n", *rows, ""]), encoding="utf-8")
    (out / "llms-full.txt").write_text("\n\n".join([head, *texts.values()]), encoding="utf-8")


def _first_paragraph(text: str) -> str:
    """Return the first paragraph of prose on one line, without the addresses of its links."""
    for block in text.split("\n\n"):
        if re.match(r"[A-Z*`\"]", block) and not block.startswith("```"):
            return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(block.split()))
    return ""


def setup(app: Sphinx) -> None:
    """Connect what is written beside the pages."""
    app.connect("build-finished", write_llms)
