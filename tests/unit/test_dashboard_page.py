"""The pictures of the manual's dashboard page are those in its folder, and show pages of the router."""

import re

from page_routes import PICTURES, page_paths, picture_of, shown_pictures

COMMAND = (
    "TARGCC_UPDATE_PICTURES=1 uv run --with pillow pytest -n 0 -m soak tests/e2e/test_every_page.py"
)
VARIANT = re.compile(r"-\d+-(light|dark)-[a-z]+$")
NO_ROUTE = {"problem"}
MOST_BYTES = 2_000_000


def test_each_picture_of_the_manual_is_there_and_shows_a_page():
    sizes = {file.stem: file.stat().st_size for file in PICTURES.glob("*.png")}
    pages = {picture_of(path) for path in page_paths()} | NO_ROUTE
    shown = shown_pictures()
    assert shown == sizes.keys(), f"make the pictures that docs/dashboard.md shows with `{COMMAND}`"
    assert {VARIANT.sub("", name) for name in shown} - pages == set()
    assert sum(sizes.values()) < MOST_BYTES
