"""Run git. No other module runs git.

A repository's configuration may name programs: hooks, filters, a transport, a file monitor. A foreign repository must not start
such programs, so no call reads its configuration. git works in a temporary folder with an empty configuration, and gets the
places of the repository's objects and index as variables.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 20.0
_LARGEST_POINTER = 10_000
_OPTIONS = ("--no-optional-locks", "--no-pager", "-c", "core.fsmonitor=false")
_SAFE = {
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
"""Settings of every call: fetch no missing object, take no lock, show no prompt."""

_ALONE = {
    **_SAFE,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "LC_ALL": "C",
}
"""Settings that allow no other configuration and no protocol."""

# Variables that point git to another repository; hooks have these variables set.
_PLACES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_TEMPLATE_DIR",
)
_CONFIG = """\
[core]
	repositoryformatversion = 1
	bare = false
	hooksPath = {nothing}
	attributesFile = {nothing}
"""
_SHA1 = ""
_SHA256 = "[extensions]\n\tobjectFormat = sha256\n"


@dataclass(frozen=True)
class Repository:
    """The folders of a repository.

    Attributes:
        top: The folder of its files.
        own: Its own folder: `.git`, or the folder of an additional worktree.
        common: The folder that all its worktrees share.
    """

    top: Path
    own: Path
    common: Path

    @classmethod
    def around(cls, folder: Path) -> Repository | None:
        """Return the repository around a folder, by git's rules and without running git; None outside of a repository."""
        resolved = folder.resolve()
        for top in (resolved, *resolved.parents):
            entry = top / ".git"
            own = entry if entry.is_dir() else _pointed(entry, "gitdir:")
            if own is not None and (own / "HEAD").is_file():
                return cls(top, own, _pointed(own / "commondir", "") or own)
        return None


def read(folder: Path, *arguments: str, statuses: range = range(1)) -> bytes | None:
    """Run a reading command on the index and the objects of the repository around a folder.

    Args:
        folder: The working folder of git; paths count from here.
        arguments: A reading command with its arguments.
        statuses: The exit statuses of an answer.

    Returns:
        git's output; None without a repository, without git, or without an answer.
    """
    repository = Repository.around(folder)
    if repository is None:
        return None
    places = {
        "GIT_WORK_TREE": str(repository.top),
        "GIT_INDEX_FILE": str(repository.own / "index"),
        "GIT_OBJECT_DIRECTORY": str(repository.common / "objects"),
    }
    for object_format in (_SHA1, _SHA256):
        answer = _alone(folder, arguments, places, statuses, object_format)
        if answer is not None:
            return answer
    return None


def run_outside_repository(
    folder: Path, *arguments: str, statuses: range = range(1)
) -> bytes | None:
    """Run a command that needs no repository, such as `merge-file`; return None if git fails."""
    return _alone(folder, arguments, {}, statuses, _SHA1)


def set_values(repository: Repository, values: Mapping[str, str]) -> bool:
    """Write values into a repository's configuration without obeying the configuration; return whether git succeeded."""
    file = str(repository.common / "config")
    return all(
        run_outside_repository(repository.top, "config", "--file", file, name, value) is not None
        for name, value in values.items()
    )


def start_fetching(
    folder: Path, *arguments: str, protocols: str, stdout: int, stderr: int
) -> subprocess.Popen[bytes]:
    """Start git in an empty repository of ours, with the user's own configuration and login.

    Args:
        folder: The repository, or the empty folder of a new repository.
        arguments: The command.
        protocols: The allowed protocols, separated by `:`.
        stdout: The target of the answer.
        stderr: The target of messages.

    Raises:
        OSError: git is not installed.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _PLACES}
    return subprocess.Popen(
        [_git(), *_OPTIONS, "-c", f"core.hooksPath={os.devnull}", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env={**kept, **_SAFE, "GIT_ALLOW_PROTOCOL": protocols},
    )


def program(name: str) -> str | None:
    """Return the absolute path of a program on PATH; None if not found.

    Relative entries of PATH and the current folder, where Windows looks first, do not count: they may be in the project.
    """
    suffix = ".exe" if os.name == "nt" else ""
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        path = Path(entry) / f"{name}{suffix}"
        if path.is_absolute() and path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None


def _git() -> str:
    path = program("git")
    if path is None:
        raise FileNotFoundError("git is not installed")
    return path


def _alone(
    folder: Path,
    arguments: tuple[str, ...],
    places: Mapping[str, str],
    statuses: range,
    object_format: str,
) -> bytes | None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    with _neutral(object_format) as own:
        environment = {**kept, **_ALONE, "GIT_DIR": str(own), **places}
        try:
            done = subprocess.run(
                [_git(), *_OPTIONS, *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_PATIENCE,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    return done.stdout if done.returncode in statuses else None


@contextlib.contextmanager
def _neutral(object_format: str) -> Iterator[Path]:
    """Create a folder that git accepts as a repository's own folder, with our configuration."""
    with tempfile.TemporaryDirectory(prefix="targcc-gen-") as name:
        folder = Path(name)
        (folder / "objects").mkdir()
        (folder / "refs").mkdir()
        (folder / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
        config = _CONFIG.format(nothing=os.devnull)
        (folder / "config").write_text(config + object_format, encoding="utf-8")
        yield folder


def _pointed(file: Path, prefix: str) -> Path | None:
    """Return the folder that a file names, relative to the file's folder; None without such a file."""
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST_POINTER:
            return None
        text = file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    if not text.startswith(prefix):
        return None
    folder = file.parent / text.removeprefix(prefix).strip()
    return folder.resolve() if folder.is_dir() else None
