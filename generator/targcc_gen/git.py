"""Run git. No other module does.

A repository's configuration may name programs: hooks, filters, a transport, a monitor of files. Somebody else's repository
must not start any of them, so no call reads that configuration: git works in a folder of its own, with an empty configuration
beside it, and is told where the repository's objects and index are.
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
"""No missing object is fetched, no lock is taken, nobody is asked."""

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
"""No configuration but the one given, and no protocol."""

# Variables that lead git to another repository than the one it is given; a hook has them set.
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
    """Where a repository is.

    Attributes:
        top: The folder that its files are in.
        own: Its own folder: `.git`, or the one of a further worktree.
        common: The folder that all its worktrees share.
    """

    top: Path
    own: Path
    common: Path

    @classmethod
    def around(cls, folder: Path) -> Repository | None:
        """The repository that a folder is in, found as git finds it and without running git; None outside of any."""
        resolved = folder.resolve()
        for top in (resolved, *resolved.parents):
            entry = top / ".git"
            own = entry if entry.is_dir() else _pointed(entry, "gitdir:")
            if own is not None and (own / "HEAD").is_file():
                return cls(top, own, _pointed(own / "commondir", "") or own)
        return None


def read(folder: Path, *arguments: str, statuses: range = range(1)) -> bytes | None:
    """Ask about the index and the objects of the repository around a folder.

    Args:
        folder: Where git works; paths count from here.
        arguments: A command that reads, with its arguments.
        statuses: The exit statuses of an answer.

    Returns:
        What git prints; None without a repository, without git, or where git has no answer.
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
    """Run a command that needs no repository, such as `merge-file`; None where git fails."""
    return _alone(folder, arguments, {}, statuses, _SHA1)


def set_values(repository: Repository, values: Mapping[str, str]) -> bool:
    """Write values into a repository's configuration, of which nothing is obeyed; whether git could."""
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
        folder: The repository, or the empty folder where it will be.
        arguments: The command.
        protocols: Those that it may use, with `:` between them.
        stdout: Where the answer goes.
        stderr: Where messages go.

    Raises:
        OSError: There is no git.
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
    """The program of a name on PATH, absolute.

    Relative entries of PATH and the current folder, where Windows looks first, do not count: they are where the project is.
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
    """A folder that git takes for a repository's own, with a configuration of ours."""
    with tempfile.TemporaryDirectory(prefix="targcc-gen-") as name:
        folder = Path(name)
        (folder / "objects").mkdir()
        (folder / "refs").mkdir()
        (folder / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
        config = _CONFIG.format(nothing=os.devnull)
        (folder / "config").write_text(config + object_format, encoding="utf-8")
        yield folder


def _pointed(file: Path, prefix: str) -> Path | None:
    """The folder that a file names, relative to its own; None without such a file."""
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
