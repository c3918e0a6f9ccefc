"""pytest plugin of this repository: install the development tools, then run pytest with them.

`uv run` installs only the dependency group `demo`, which is all that `targcc-gen demo` needs. `[tool.pytest.ini_options]` loads this
module before any other plugin. Where packages of the groups `dev` and `docs` are missing or too old, it starts
`uv run --group dev --group docs pytest` with the same arguments and ends with the exit status of that process.
"""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

GROUPS = ("dev", "docs")
STARTED = "TARGCC_DEVELOPMENT_TOOLS"  # set for the second process: it starts no third
ROOT = Path(__file__).resolve().parent.parent


def missing(pyproject: Path) -> list[str]:
    """Return the requirements of `GROUPS` in a pyproject.toml that this environment does not meet."""
    groups = tomllib.loads(pyproject.read_text(encoding="utf-8"))["dependency-groups"]
    requirements = [Requirement(text) for group in GROUPS for text in groups[group]]
    return [str(requirement) for requirement in requirements if not _is_met(requirement)]


def _is_met(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def install_and_restart(arguments: list[str]) -> None:
    """Run pytest with `GROUPS` installed and exit with its status. Do nothing where no package is missing.

    Raises:
        pytest.UsageError: packages are missing, and pytest was not started by `uv run`.
    """
    if os.environ.get(STARTED) or not (packages := missing(ROOT / "pyproject.toml")):
        return
    uv = os.environ.get("UV")  # the program that runs this process; uv sets it
    if uv is None:
        raise pytest.UsageError(
            f"{len(packages)} development packages are missing, such as {packages[0]}: run `uv sync --all-groups`"
        )
    sys.stderr.write(f"Installs  {len(packages)} development packages (once) ...\n")
    groups = [word for group in GROUPS for word in ("--group", group)]
    command = [uv, "run", "--project", str(ROOT), *groups, "pytest", *arguments]
    raise SystemExit(
        subprocess.run(command, env=os.environ | {STARTED: "1"}, check=False).returncode
    )


os.environ.setdefault("HYPOTHESIS_NO_PLUGINS", "1")  # it would import trio in each worker
if Path(sys.argv[0]).stem in {
    "pytest",
    "py.test",
}:  # not in workers of pytest-xdist, not in imports
    install_and_restart(sys.argv[1:])
