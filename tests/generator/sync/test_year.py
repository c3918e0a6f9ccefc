"""Simulate a year of a project of the first release: no line of a person is lost, `--check` is right, and its tests pass.

`TARGCC_SEEDS="20 21" uv run pytest -n 0 -m soak tests/generator/sync/test_year.py` simulates other years and months.
"""

import os
import shutil

import older_projects
import pytest
from year import Year, month

OTHER = [int(seed) for seed in os.environ.get("TARGCC_SEEDS", "").split()]


@pytest.fixture(scope="module")
def born(tmp_path_factory):
    """Unpack the project as release 0.1 rendered it."""
    folder = tmp_path_factory.mktemp("born")
    older_projects.unpack("0.1", folder)
    return folder / "acme-jobs"


@pytest.fixture
def live(born, tmp_path):
    def begin(seed):
        root = tmp_path / "acme-jobs"
        shutil.copytree(born, root)
        return Year(root, seed)

    return begin


@pytest.mark.usefixtures("processes")
def test_half_a_month(live):
    year = live(1)
    year.settled("regenerate")
    month(year, 4)


@pytest.mark.soak
@pytest.mark.parametrize("seed", OTHER or (1, 2, 3))
def test_a_month(live, seed):
    year = live(seed)
    year.settled("regenerate")
    month(year, 8)


@pytest.mark.soak
@pytest.mark.parametrize("seed", OTHER or [10])
def test_a_year(live, seed):
    year = live(seed)
    year.settled("regenerate")
    for _ in range(12):
        month(year, 8, whole=Year.works)
