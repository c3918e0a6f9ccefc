"""The manual's dashboard page has a picture of each page of the router."""

import re
from pathlib import Path

from page_routes import page_paths, picture_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMAND = (
    "TARGCC_UPDATE_PICTURES=1 uv run --with pillow pytest -n 0 -m soak tests/e2e/test_every_page.py"
)
MOST_BYTES = 2_000_000


def test_each_page_has_a_picture_in_the_manual():
    shown = set(
        re.findall(r"\(pictures/([\w-]+)\.png\)", (DOCS / "dashboard.md").read_text("utf-8"))
    )
    sizes = {file.stem: file.stat().st_size for file in (DOCS / "pictures").glob("*.png")}
    wanted = {picture_of(path) for path in page_paths()}
    how = (
        f"make it with `{COMMAND}` and show it in docs/dashboard.md;"
        " what is no page stands in NO_PAGES of tests/page_routes.py"
    )
    assert wanted - sizes.keys() == set(), how
    assert shown == sizes.keys(), how
    assert sum(sizes.values()) < MOST_BYTES
