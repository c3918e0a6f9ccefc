"""`uv run` of the demo installs no development tools; pytest installs them."""

import subprocess
import tomllib
from pathlib import Path

import development
import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_installs_no_tools_of_developers():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["tool"]["uv"]["default-groups"] == ["demo"]
    assert len(pyproject["dependency-groups"]["demo"]) == 2


def test_this_environment_has_all_packages():
    assert development.missing(ROOT / "pyproject.toml") == []


def test_missing_and_old_packages_are_named(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[dependency-groups]\n"
        "dev = ['pytest>=8', 'no-such-package', 'no-such-too ; sys_platform == \"never\"']\n"
        "docs = ['click<2']\n",
        encoding="utf-8",
    )
    assert development.missing(tmp_path / "pyproject.toml") == ["no-such-package", "click<2"]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("uv", [True, False])
def test_packages_that_are_missing_are_installed_before_pytest_starts(tmp_path, monkeypatch, uv):
    (tmp_path / "pyproject.toml").write_text(
        "[dependency-groups]\ndev = ['no-such-package']\ndocs = []\n", encoding="utf-8"
    )
    commands = []
    monkeypatch.setattr(development, "ROOT", tmp_path)
    monkeypatch.delenv(development.STARTED, raising=False)
    monkeypatch.setenv("UV", "/bin/uv") if uv else monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, env, check: commands.append(command)  # noqa: ARG005
        or subprocess.CompletedProcess(command, 3),
    )
    if not uv:
        with pytest.raises(pytest.UsageError, match="uv sync --all-groups"):
            development.install_and_restart(["-x"])
        return
    with pytest.raises(SystemExit) as end:
        development.install_and_restart(["-x"])
    assert end.value.code == 3
    assert commands[0][-2:] == ["pytest", "-x"]
    assert "dev" in commands[0]
