"""Run each snippet of the coming-from pages and compare its output with the output shown below it."""

import contextlib
import importlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import targcc_scheduler

PAGES = Path(__file__).resolve().parents[3] / "docs" / "coming-from"
SNIPPET = re.compile(r"<!-- run -->\n```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def snippets() -> Iterator[object]:
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        blocks = SNIPPET.findall(text)
        assert len(blocks) == text.count("<!-- run -->") == text.count("```python"), page.name
        for number, (code, printed) in enumerate(blocks, 1):
            yield pytest.param(code, printed, id=f"{page.stem}-{number}")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the file that becomes the snippet's module; ``acme_jobs.scheduler`` is an alias of the scheduler package."""
    monkeypatch.setitem(sys.modules, "acme_jobs", targcc_scheduler)
    monkeypatch.setitem(sys.modules, "acme_jobs.scheduler", targcc_scheduler)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "snippet.py"
    sys.modules.pop("snippet", None)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(("code", "printed"), list(snippets()))
async def test_a_snippet_prints_what_its_page_says(code, printed, module, make_scheduler):
    module.write_text(code, encoding="utf-8")
    importlib.invalidate_caches()
    scheduler = make_scheduler(jobs_package="snippet")
    output = io.StringIO()

    await scheduler.start(schedule=False)
    with contextlib.redirect_stdout(output):
        await sys.modules["snippet"].main(scheduler)

    assert output.getvalue() == printed
