"""An environment overrides options of the project and of single jobs."""

from dataclasses import replace

import pytest
import targcc_scheduler
from targcc_scheduler import project
from targcc_scheduler.core.errors import ProjectError
from targcc_scheduler.features.flows.declared import flow_declarations
from targcc_scheduler.kernel.jobs.declaration import declare
from targcc_scheduler.project import Project, configure, current

PLAIN = Project(name="app", package="app", timeout="1h")
ENVIRONMENTS = {
    "production": {},
    "staging": {"retries": 1, "job_options": {"Daily": {"timeout": "5m", "paused": True}}},
}


class DailyJob:
    def execute(self, ctx):
        """Do nothing."""


@pytest.fixture(autouse=True)
def _not_configured(monkeypatch):
    monkeypatch.setattr(project, "_configured", None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("", (3, 7200, False)), ("production", (3, 7200, False)), ("staging", (1, 300, True))],
)
def test_a_job_runs_as_the_environment_says(monkeypatch, name, expected):
    monkeypatch.setenv("TARGCC_ENVIRONMENT", name)
    configure(PLAIN, ENVIRONMENTS)

    job = declare(DailyJob, "0 2 * * *", timeout="2h").complete(current())

    assert (job.retries, job.timeout.total_seconds(), job.paused) == expected


def test_a_flow_starts_as_the_environment_says(monkeypatch):
    monkeypatch.setenv("TARGCC_ENVIRONMENT", "staging")
    flow = {"cron": "0 2 * * *", "queue": "slow", "steps": {"fetch": {"job": "Daily"}}}
    values = {"job_options": {"MonthEnd": {"queue": "fast", "overlap": "allow", "paused": True}}}
    configure(replace(PLAIN, flows={"MonthEnd": flow}), {"staging": values})

    ((_, declaration),) = flow_declarations(current())
    job = declaration.complete(current())

    assert (job.queue, job.overlap, job.paused) == ("fast", "allow", True)


def test_a_name_that_the_spec_does_not_have_is_refused(monkeypatch):
    monkeypatch.setenv("TARGCC_ENVIRONMENT", "stagin")
    vars(targcc_scheduler).pop("job", None)  # as on a first import

    configure(PLAIN, ENVIRONMENTS)
    for used in (current, lambda: targcc_scheduler.job):
        with pytest.raises(ProjectError, match=r"targcc\.yaml has production, staging"):
            used()


def test_a_name_is_refused_where_the_spec_has_no_environments(monkeypatch):
    monkeypatch.setenv("TARGCC_ENVIRONMENT", "production")
    configure(PLAIN)
    with pytest.raises(
        ProjectError, match=r"is 'production', and targcc\.yaml has no environments"
    ):
        current()
    monkeypatch.setenv("TARGCC_ENVIRONMENT", "")
    configure(PLAIN)
    assert current() == PLAIN


def test_a_worker_process_takes_the_project_as_its_node_has_it(monkeypatch):
    monkeypatch.setenv("TARGCC_ENVIRONMENT", "staging")
    configure(PLAIN, ENVIRONMENTS)
    adopted = current()
    project.adopt(PLAIN)  # as in another process
    project.adopt(adopted)
    configure(PLAIN, ENVIRONMENTS)
    assert current() == adopted
