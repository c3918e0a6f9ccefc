"""Requirements of a rendered project: ranges equal to this repository's, and a lock that satisfies them."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec

ROOT = Path(__file__).resolve().parents[3]
SPEC = "targcc: 1\nproject: {{name: acme}}\nscheduler: {}\ndatabase: {}\njobs: {{}}\n"
LOCK = "requirements.lock"


def rendered(scheduler: str = "vendored", database: str = "sqlite") -> dict[str, str]:
    tree = render_project(parse_spec(SPEC.format(scheduler, database)))
    return {file.path: file.content.decode("utf-8", "replace") for file in tree}


def required(pyproject: str) -> list[Requirement]:
    data = tomllib.loads(pyproject)
    texts = [
        *data["project"]["dependencies"],
        *(
            requirement
            for extra in data["project"]["optional-dependencies"].values()
            for requirement in extra
        ),
        *data["dependency-groups"]["dev"],
    ]
    return [Requirement(text) for text in texts]


def of_the_scheduler() -> list[Requirement]:
    """Return the scheduler's requirements with all extras."""
    return [Requirement(text) for text in metadata.requires("targcc-scheduler")]


@pytest.mark.parametrize("name", ["black", "mypy", "ruff"])
def test_the_tools_have_the_range_that_this_repository_tries(name):
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    texts = [*data["project"]["dependencies"], *data["dependency-groups"]["dev"]]
    (own,) = (item for item in map(Requirement, texts) if item.name == name)
    (generated,) = (item for item in required(rendered()["pyproject.toml"]) if item.name == name)
    assert generated.specifier == own.specifier
    assert any(item.operator in {"<", "~="} for item in own.specifier)


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mssql"])
def test_the_lock_has_every_requirement_in_a_version_that_fits(database):
    files = rendered(database=database)
    pins: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", files[LOCK], re.MULTILINE):
        pins.setdefault(canonicalize_name(name), []).append(version)
    unfit = [
        str(requirement)
        for requirement in [*required(files["pyproject.toml"]), *of_the_scheduler()]
        if requirement.name != "targcc-scheduler"
        and not any(
            requirement.specifier.contains(pin)
            for pin in pins.get(canonicalize_name(requirement.name), [])
        )
    ]
    assert unfit == []


def test_the_lock_has_hashes_and_names_no_index():
    lock = rendered()[LOCK]
    pins = re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]
    assert len(pins) > 40
    assert all("--hash=sha256:" in pin for pin in pins)
    assert "://" not in lock
    assert "index" not in lock


def test_ci_and_the_image_install_what_the_lock_says_and_check_its_hashes():
    files = rendered()
    (dockerfile,) = (line for line in files["Dockerfile"].splitlines() if "-r pyproject" in line)
    assert "--constraints requirements.lock" in dockerfile
    steps = yaml.safe_load(files[".github/workflows/ci.yml"])["jobs"]["check"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert "uv pip sync --require-hashes requirements.lock" in commands
    assert not any("uv sync" in command for command in commands)


def test_the_command_that_writes_a_lock_leaves_out_a_wheel_that_is_part_of_the_project():
    vendored, packaged = (
        re.findall("uv pip compile.*", rendered(way)["README.md"])
        for way in ("vendored", "package")
    )
    assert packaged == vendored
    assert "--no-emit-package targcc-scheduler" in packaged[0]
