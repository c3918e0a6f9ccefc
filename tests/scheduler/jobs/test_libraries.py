"""Jobs in a library that several projects import."""

import importlib
import subprocess
import sys
import textwrap
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from targcc_scheduler import Project, run_job
from targcc_scheduler.kernel.jobs.registry import JobRegistry

LIBRARY = """
    from targcc_scheduler import job

    @job("0 2 * * *")
    class ReportJob:
        def execute(self): ...

    @job(at="2030-01-01T02:00", retries=1)
    class OnceJob:
        def execute(self): ...
"""


@pytest.fixture
def make_package(tmp_path, monkeypatch):
    """Return a function that writes an importable package from module texts."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(name, **modules):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        made.append(name)
        return name

    yield make
    for name in [module_name for module_name in sys.modules if module_name.split(".")[0] in made]:
        del sys.modules[name]


# Libraries.


@pytest.mark.usefixtures("processes")
def test_a_library_of_jobs_can_be_imported_before_there_is_a_project(make_package, tmp_path):
    make_package("job_library", reports=LIBRARY)
    command = [sys.executable, "-c", "import job_library.reports"]
    subprocess.run(command, check=True, cwd=tmp_path)


async def test_a_job_of_a_library_can_be_tried_without_a_project(make_package, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.project._configured", None)
    package = make_package("tried_jobs", reports=LIBRARY)
    outcome = await run_job(importlib.import_module(f"{package}.reports").ReportJob)
    assert outcome.result.ok


def test_each_project_completes_the_jobs_of_a_library_with_its_own_defaults(make_package):
    package = make_package("shared_jobs", reports=LIBRARY)
    north = Project("north", "north", timezone="Europe/Oslo", queue="north", retries=7)
    south = Project("south", "south", timezone="America/Lima", backoff="5m", timeout="1h")
    of_north, of_south = (
        JobRegistry(package, project=project).definitions for project in (north, south)
    )
    assert [of_north["Report"].timezone, of_south["Report"].timezone] == [
        "Europe/Oslo",
        "America/Lima",
    ]
    assert [of_north["Report"].queue, of_south["Report"].queue] == ["north", "default"]
    assert [of_north["Report"].retries, of_south["Report"].retries] == [7, 3]
    assert of_south["Report"].backoff.total_seconds() == 300
    assert of_south["Report"].timeout.total_seconds() == 3600
    assert [job["Once"].retries for job in (of_north, of_south)] == [1, 1]
    assert [job["Once"].schedule.at for job in (of_north, of_south)] == [
        datetime(2030, 1, 1, 2, tzinfo=ZoneInfo(zone)) for zone in ("Europe/Oslo", "America/Lima")
    ]


def test_a_class_leads_to_the_definition_of_its_project(make_package):
    package = make_package("found_jobs", reports=LIBRARY)
    registry = JobRegistry(package, project=Project("north", "north", queue="north"))
    klass = importlib.import_module(f"{package}.reports").ReportJob
    assert registry.find(klass).queue == "north"
    assert registry.find(klass) == registry.definitions["Report"]
    assert registry.find(klass) is registry.definitions["Report"]
