"""Panels: a feature of a project adds a section to the pages of the frame, and leaves the others as they are."""

import importlib

import pytest
from targcc_scheduler.kernel import feature as kernel_feature
from targcc_scheduler.web.dashboard import rendering
from web_fixtures import Site

_MANIFEST = """
from targcc_scheduler.kernel.feature import Feature, Panel

FEATURE = Feature(__name__, parts=(Panel("parts:rooms", "PAGE", template="rooms.html"),))
"""
_PARTS = """
async def rooms(connection, page):
    return {"rooms": [page.job, page.run.id if page.run else None]}
"""
_PAGES = {
    "job": "/jobs/jobs/DailyReport",
    "run": "/jobs/runs/1",
    "runs": "/jobs/runs",
    "overview": "/jobs",
    "system": "/jobs/system",
}
_ROOMS = {"job": "['DailyReport', None]", "run": "['DailyReport', 1]"}


@pytest.fixture(params=_PAGES)
def page(request, tmp_path, monkeypatch):
    """The page to which a feature adds a panel."""
    name = f"hotel_of_{request.param}"
    folder = tmp_path / name
    (folder / "templates").mkdir(parents=True)
    (folder / "feature.py").write_text(_MANIFEST.replace("PAGE", request.param))
    (folder / "parts.py").write_text(_PARTS)
    (folder / "templates/rooms.html").write_text("<h2>Rooms: {{ rooms }}</h2>")
    monkeypatch.syspath_prepend(str(tmp_path))
    hotel = importlib.import_module(f"{name}.feature").FEATURE
    features = (*kernel_feature.installed(), hotel)
    for module in (kernel_feature, rendering):
        monkeypatch.setattr(module, "installed", lambda: features)
    rendering.environment.cache_clear()
    yield request.param
    rendering.environment.cache_clear()


@pytest.mark.slow
async def test_a_feature_adds_a_section_to_a_page(site: Site, page: str):
    await site.add_run("DailyReport", "succeeded")
    visitor = await site.user("viewer")
    texts = {name: await visitor.page(address) for name, address in _PAGES.items()}
    rooms = _ROOMS.get(page, "['', None]").replace("'", "&#39;")
    assert f"<h2>Rooms: {rooms}</h2>" in texts.pop(page)
    assert not any("Rooms" in text for text in texts.values())
