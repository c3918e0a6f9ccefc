"""The pages of ``docs/hosts``: the tests that they show pass, in a process that knows nothing of ours."""

import pages
import pytest
import served

QUICK = ("fastapi.md",)
SOAK = ("starlette.md", "flask.md", "django.md", "scripts.md")


@pytest.mark.parametrize(
    "page", [*QUICK, *(pytest.param(page, marks=pytest.mark.soak) for page in SOAK)]
)
def test_the_application_of_a_page_passes_its_own_tests(page, tmp_path):
    root = pages.write(page, tmp_path)
    said = served.run(
        root, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests"
    )
    assert " passed" in said
    assert not list(root.rglob("c_*"))


def test_every_page_is_tried():
    assert {page.name for page in pages.PAGES.glob("*.md")} == {*QUICK, *SOAK}
