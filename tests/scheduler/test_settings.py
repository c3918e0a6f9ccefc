"""Settings are validated before anything starts, with readable error messages."""

import importlib.util

import pytest
from pydantic import ValidationError
from targcc_scheduler import Project, Settings
from targcc_scheduler.core.masking import MASK, KnownSecrets, mask


def problem(**values: str) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings(_env_file=None, **values)
    return caught.value.errors()[0]["msg"].removeprefix("Value error, ")


@pytest.mark.parametrize("path", ["/api", "", "/", "metrics", "/health/x", "/a b", "/{x}", "/a//b"])
def test_the_dashboard_lives_where_nothing_else_does(path: str):
    assert problem(dashboard_path=path).startswith("the dashboard cannot live at /")


def test_the_dashboards_path_may_be_written_with_or_without_slashes():
    assert Settings(_env_file=None, dashboard_path="ops/jobs/").dashboard_path == "/ops/jobs"


def test_postgresql_without_its_packages_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "targcc_scheduler.core.extras.find_spec",
        lambda name: None if name == "psycopg" else find(name),
    )
    message = Settings(_env_file=None, database_url="postgresql://host/jobs").missing_extra
    assert message.startswith("PostgreSQL needs psycopg, which targcc-scheduler[postgresql] has: ")
    assert not Settings(_env_file=None, database_url="sqlite:///jobs.db").missing_extra


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "http://127.0.0.1:8000/jobs"),
        (
            {"base_url": "https://jobs.example.com/", "dashboard_path": "/ops/"},
            "https://jobs.example.com/ops",
        ),
        ({"host": "::1", "port": 9000}, "http://[::1]:9000/jobs"),
    ],
)
def test_the_dashboard_has_one_address(options, address):
    assert Settings(_env_file=None, **options).dashboard_url == address


NUMBERS = [
    name
    for name, field in Settings.model_fields.items()
    if any(kind in str(field.annotation) for kind in ("int", "float"))
]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e400", "1e300", "9" * 30, "9" * 5000])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_finite_and_bounded(name: str, number: str):
    assert problem(**{name: number})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://jobs:hunter2/x-part@db/x",
        "postgresql://jobs:12/hunter2@db/x",
        "postgresql://jobs:hunter2/x-part",
        "postgresql://jobs:hunter2/x@part",
        "postgresql://jobs:a@hunter2/word@db/x",
        "postgresql://jobs:a@hunter2:word@db/x",
        "postgresql://jobs@db/x?password=hunter2&sslmode=require",
        "postgresql://jobs:a?hunter2@db/x",
        "mysql://jobs:hunter2/x@db/x",
        "postgresql://jobs:hunter2",
    ],
)
def test_no_error_about_settings_and_no_message_shows_a_password_with_a_slash(url: str):
    for name in ("database_url", "legacy_url", "cutover_url"):
        try:
            chosen = Settings(_env_file=None, **{name: url})
            text = f"{chosen.shown_database_url} {chosen!r}"
        except ValidationError as error:
            text = str(error)
        assert "hunter2" not in text
    assert "hunter2" not in mask(f"could not resolve the host in {url}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://server-1:5432,server-2:5432/all-the-jobs",
        "postgresql://[fd00::server-1]/all-the-jobs",
        "postgresql://server-1/all-the-jobs",
        "mssql://server-1:1433/all-the-jobs",
        "sqlite:///C:/server-1/all-the-jobs.db",
        "docker://server-1:all-the-jobs",
    ],
)
def test_the_host_and_the_name_in_a_url_without_a_password_are_shown(url: str):
    known = KnownSecrets()
    known.add_url(url)
    assert known.lasting == ()


def test_a_part_of_a_password_that_is_taken_for_the_host_is_masked():
    Settings(_env_file=None, legacy_url="mssql://sa:first@second-part/third@db/x")
    assert mask("failed to resolve host 'second-part'") == f"failed to resolve host '{MASK}'"


@pytest.mark.parametrize(
    ("project", "environment", "mode"),
    [
        ("embedded", "auto", "embedded"),
        ("pages", "auto", "pages"),
        ("pages", "embedded", "embedded"),
        ("embedded", "pages", "pages"),
    ],
)
def test_the_environment_overrides_the_mode_of_the_project(project, environment, mode, monkeypatch):
    monkeypatch.setattr(
        "targcc_scheduler.settings.current", lambda: Project("shop", "shop", mode=project)
    )
    monkeypatch.setattr("targcc_scheduler.settings.runner_of_tests", lambda: "")
    assert Settings(mode=environment).effective_mode == mode
