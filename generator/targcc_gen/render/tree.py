"""The tree: every file of a project in memory, with its owner."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from targcc_gen.spec import Spec


# Tree and files.

LOCK_PATH = ".targcc/lock.jsonl"
PENDING_PATH = ".targcc/pending"
KEPT_PATH = ".targcc/kept"
REMOVED_PATH = ".targcc/removed"

_MAX_PATH = 400
_RESERVED = (LOCK_PATH, PENDING_PATH, ".git")

# Characters that Windows forbids in a file name, and control characters. A "\" or ":" could also let a path leave the project.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_NO_NAME = re.compile(
    r"(?:^|[/. ])(?:/|\Z)"
)  # an empty part, or a part that ends with a dot or a space


class Owner(StrEnum):
    """The editor of a file; decides how regeneration treats the file."""

    MANAGED = "managed"
    """Edited by the generator and by people: merged three-way."""
    SCAFFOLD = "scaffold"
    """Edited by people, written a single time. A job's decorator follows the spec; an inherited file follows the generator."""
    PATCHED = "patched"
    """Edited by people. The generator inserted a few lines and can remove them."""

    @property
    def shown(self) -> str:
        """The word for users: a scaffold file is `yours`."""
        return "yours" if self is Owner.SCAFFOLD else self.value


@dataclass(frozen=True)
class JobFacts:
    """Facts about a job that its module's text does not hold.

    Attributes:
        key: The job's key in the spec.
        package: The project's import name.
        blueprint: The blueprint that the spec names for the job.
        defaults: The project's values for arguments that the job's `@job` does not give.
        keep: Arguments of `@job` that the code decides, whatever the spec says.
        as_blueprint: Render the job's module by another blueprint, given the blueprint's name; None if the job does not fit the blueprint.
    """

    key: str
    package: str
    blueprint: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    as_blueprint: Callable[[str], bytes | None] = field(
        default=lambda _name: None, compare=False, repr=False
    )


@dataclass(frozen=True)
class JobMove:
    """A renamed job.

    Attributes:
        old: The former key.
        new: The current key.
        paths: Former and current path of the module, and of the test.
    """

    old: str
    new: str
    paths: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TreeFile:
    """A file as the spec asks for it.

    Attributes:
        path: POSIX path below the project's folder.
        content: The bytes; lines of text end with `\\n`.
        owner: The editor of the file.
        executable: Whether the file is a program.
        job: Facts about the job, for a job's module; the module's decorator follows the spec.
        test_of: The path of the job's module, for a job's test.
        inherited: Whether a scaffold file takes over changes of the generator's text where they can be merged.
        earlier: The texts of earlier releases, for an inherited file.
        whole: Whether this run merges the whole scaffold file instead of its decorator alone.
        replaces: The bytes on disk that `content` was computed from, for a file that is edited instead of rendered, such as
            the spec when a job is added. Such a file is written whatever its owner.
        added: Requirements that the generator inserted, for a scaffold file with requirements.
        summary: A few words for the listing of a new project.
    """

    path: str
    content: bytes
    owner: Owner
    executable: bool = False
    job: JobFacts | None = None
    test_of: str = ""
    inherited: bool = False
    earlier: tuple[bytes, ...] = ()
    whole: bool = False
    replaces: bytes | None = None
    added: tuple[str, ...] = ()
    summary: str = ""


@dataclass(frozen=True)
class Layout:
    """The folders of a project's code; resolves paths of the template.

    Attributes:
        code: The folder of the package: `src/acme_jobs`.
        migrations: The folder of the migrations.
    """

    code: str
    migrations: str = "migrations"

    def place(self, path: str) -> str:
        """Return the project's path for a template path `src/{package}/…` or `migrations/…`."""
        for folder, here in (("src/{package}/", self.code), ("migrations/", self.migrations)):
            if path.startswith(folder):
                return f"{here}/{path.removeprefix(folder)}"
        return path


@dataclass(frozen=True)
class Tree:
    """Files by path, sorted. The same spec and version give the same tree on any machine.

    Attributes:
        files: The files by path.
        complete: Whether the tree has all files of the project. If so, every other path of the lock has left the spec.
        removed: Paths that have left the spec, in an incomplete tree.
        layout: The folders of the project's code; None if not needed.
        templates: Checksums of the team's templates behind the tree.
        moved: The renamed jobs, the newest name first.
    """

    files: dict[str, TreeFile]
    complete: bool = True
    removed: frozenset[str] = field(default_factory=frozenset)
    layout: Layout | None = None
    templates: Mapping[str, str] = field(default_factory=dict)
    moved: tuple[JobMove, ...] = ()

    @classmethod
    def of(
        cls,
        files: Iterable[TreeFile],
        *,
        complete: bool = True,
        removed: Iterable[str] = (),
        layout: Layout | None = None,
        templates: Mapping[str, str] | None = None,
        moved: Iterable[JobMove] = (),
    ) -> Tree:
        """Build a tree of the files.

        Raises:
            ValueError: A path is not valid on every system, or two paths are equal on some system.
        """
        by_path: dict[str, TreeFile] = {}
        folded: dict[str, str] = {}
        for file in sorted(files, key=lambda file: file.path):
            if problem := path_problem(file.path):
                raise ValueError(f"{file.path!r} {problem}")
            twin = folded.setdefault(file.path.casefold(), file.path)
            if file.path in by_path or twin != file.path:
                raise ValueError(f"{file.path!r} and {twin!r} are one file on some systems")
            by_path[file.path] = file
        return cls(
            by_path,
            complete=complete,
            removed=frozenset(removed),
            layout=layout,
            templates=templates or {},
            moved=tuple(moved),
        )

    def __iter__(self) -> Iterator[TreeFile]:
        return iter(self.files.values())

    def __len__(self) -> int:
        return len(self.files)


def path_problem(path: str) -> str | None:
    """Return the reason that `path` cannot be a file of a project, or None. The path may come from a damaged lock."""
    if not path or len(path) > _MAX_PATH:
        return "is no path"
    if path.startswith("/") or _FORBIDDEN.search(path):
        return "is not a relative path with / between its parts"
    if _NO_NAME.search(path):
        return "leaves the project, or has a part that is no name"
    if any(path == name or path.startswith(f"{name}/") for name in _RESERVED):
        return "is not a file of the project but of its tools"
    return None


# Owners of files, by path.

# Files for the user's own content. `{package}` is the project's import name; a name ending in "/" is a folder.
_YOURS = (
    ".dockerignore",
    ".env.example",
    ".gitattributes",
    ".gitignore",
    "Dockerfile",
    "README.md",
    "compose.yaml",
    "pyproject.toml",
    "requirements.lock",
    "src/{package}/__init__.py",
    "src/{package}/features/",
    "src/{package}/jobs/",
    "src/{package}/main.py",
    "src/{package}/py.typed",
    "src/{package}/services.py",
    "targcc.yaml",
    "tests/conftest.py",
    "tests/features/",
    "tests/jobs/",
)

# Scaffold files that follow the generator: dependencies, settings of tools, containers, CI. Without the list a project would get
# these files only at its creation, or a conflict in them would block an upgrade of the code. Jobs and tests are excluded.
_INHERITED = (
    ".dockerignore",
    ".env.example",
    ".gitattributes",
    ".github/workflows/ci.yml",
    ".gitlab-ci.yml",
    ".gitignore",
    ".pre-commit-config.yaml",
    "Dockerfile",
    "README.md",
    "compose.yaml",
    "pyproject.toml",
    "requirements.lock",
    "src/{package}/main.py",
    "src/{package}/services.py",
)

_SUMMARIES = {
    "src/{package}/main.py": "the FastAPI app",
    "src/{package}/services.py": "the services that jobs use",
    "src/{package}/scheduler.py": "settings from targcc.yaml; the scheduler itself is the dependency targcc-scheduler",
    "src/{package}/flows.py": "the flows with their arguments, for typed calls",
    "targcc.yaml": "jobs and settings of this project",
}


def owner_of(path: str, package: str) -> Owner:
    """Return the owner of the file at `path` of a standalone project."""
    for pattern in _YOURS:
        place = pattern.format(package=package)
        if path == place or (place.endswith("/") and path.startswith(place)):
            return Owner.SCAFFOLD
    return Owner.MANAGED


def is_inherited(path: str, package: str) -> bool:
    """Return whether a file follows the generator where its changes can be merged."""
    return path in {pattern.format(package=package) for pattern in _INHERITED}


def summary_of(path: str, package: str) -> str:
    """Return a few words about a file that newcomers should know; empty for other files."""
    if path.startswith("migrations/scheduler."):
        return "the scheduler's tables, for review"
    for pattern, summary in _SUMMARIES.items():
        if path == pattern.format(package=package):
            return summary
    return ""


# Paths of a project inside an existing app.

_NESTED = ("jobs/", "features/")
_SINGLE = ("scheduler.py", "flows.py", "services.py", "__init__.py")
_KEPT = ("targcc.yaml", ".targcc/", "vendor/")


def embedded(files: Iterable[TreeFile], spec: Spec) -> list[TreeFile]:
    """Select the files for an existing app: the scheduler, the jobs, their services and the spec. Skip files that an app has itself."""
    result = []
    for file in files:
        path = embedded_path(file.path, spec)
        if path is not None:
            test_of = embedded_path(file.test_of, spec) if file.test_of else ""
            result.append(replace(file, path=path, test_of=test_of or ""))
    return result


def embedded_path(path: str, spec: Spec) -> str | None:
    """Return the path in the app's project for a path of a whole project; None if the app does not get the file."""
    package = spec.project.package
    folder = _folder(spec)
    code = path.removeprefix(f"src/{package}/")
    if code != path:
        return f"{folder}/{code}" if code.startswith(_NESTED) or code in _SINGLE else None
    return path if path.startswith(_KEPT) else None


def layout_of(spec: Spec) -> Layout:
    """Return the folders of the package, in a standalone project or in the app."""
    if spec.project.inside is None:
        return Layout(f"src/{spec.project.package}")
    return Layout(_folder(spec), f"{_folder(spec)}/migrations")


def _folder(spec: Spec) -> str:
    inside, package = spec.project.inside, spec.project.package
    return package if inside in {None, "."} else f"{inside}/{package}"
