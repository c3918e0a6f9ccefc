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

# Characters that Windows forbids in a file's name, and control characters; "\" and ":" would also let a path escape.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_NO_NAME = re.compile(r"(?:^|[/. ])(?:/|\Z)")  # a part that is empty or ends with a dot or a space


class Owner(StrEnum):
    """Who edits a file, and so what regeneration does with it."""

    MANAGED = "managed"
    """The generator, and people too: merged three-way."""
    SCAFFOLD = "scaffold"
    """People: written once; a job's decorator follows the spec, and what a project inherits follows the generator."""
    PATCHED = "patched"
    """People: the generator inserted a few lines, and can take them out again."""

    @property
    def shown(self) -> str:
        """The word people read: a scaffold file is `yours`."""
        return "yours" if self is Owner.SCAFFOLD else self.value


@dataclass(frozen=True)
class JobFacts:
    """What is known of a job besides the text of its module.

    Attributes:
        key: Its key in the spec.
        package: The project's import name.
        blueprint: What its module started out as, or would now.
        defaults: What the project says of the arguments that its `@job` does not give.
        keep: The arguments that the code says, whatever the spec does.
        as_blueprint: Its module by another blueprint, by that one's name; None where that has no module for it.
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
    """A job that was renamed.

    Attributes:
        old: The key it had.
        new: Its key.
        paths: Where its module and its test were, and where they are now.
    """

    old: str
    new: str
    paths: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TreeFile:
    """One file as the spec asks for it.

    Attributes:
        path: POSIX path below the project's folder.
        content: The bytes, text with `\\n` line ends.
        owner: Who edits it.
        executable: Whether it is a program.
        job: Of a job's module, whose decorator follows the spec: what is known of the job.
        test_of: Of a job's test: the path of the job's module.
        inherited: Whether a file of people's gets what is new in the generator's text of it, where that can be merged.
        earlier: What earlier releases wrote there, of a file that is inherited.
        whole: Whether a file of people's is merged as a whole this time, and not its decorator alone.
        replaces: The bytes on disk that `content` was computed from, for a file that is edited rather than
            rendered, such as the spec that a job is added to. It is then written whatever its owner.
        added: Of a file of people's that lists requirements: those that the generator put in.
        summary: A few words about it for the listing of a new project.
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
    """Where a project has its code, so that a path of the template can be found in it.

    Attributes:
        code: The folder of its package: `src/acme_jobs`.
        migrations: The folder of the migrations.
    """

    code: str
    migrations: str = "migrations"

    def place(self, path: str) -> str:
        """Where `src/{package}/…` or `migrations/…` of the template is in this project."""
        for folder, here in (("src/{package}/", self.code), ("migrations/", self.migrations)):
            if path.startswith(folder):
                return f"{here}/{path.removeprefix(folder)}"
        return path


@dataclass(frozen=True)
class Tree:
    """Files by path, sorted; the same spec and version give the same tree anywhere.

    Attributes:
        files: The files by path.
        complete: Whether this is all that the project asks for, so that whatever else the lock knows has left the spec.
        removed: In an incomplete tree: the paths that have left the spec.
        layout: Where the project has its code; None where nobody asks.
        templates: The checksums of the team's templates that it was made with.
        moved: The jobs that were renamed, the newest name first.
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
        """A tree of these files.

        Raises:
            ValueError: A path cannot be one on every system, or two are the same on some.
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
    """Why `path` cannot be a file of a project, or None if it can; it may come from a damaged lock."""
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

# What people write their own things into. `{package}` is the project's import name; a name ending in "/" is a folder.
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
    "src/{package}/jobs/",
    "src/{package}/main.py",
    "src/{package}/py.typed",
    "src/{package}/services.py",
    "targcc.yaml",
    "tests/conftest.py",
    "tests/jobs/",
)

# What a project would otherwise get only once, or where a conflict would be in the way of an upgrade of the code:
# dependencies, settings of tools, containers, CI. Jobs and tests are left alone.
_INHERITED = (
    ".dockerignore",
    ".env.example",
    ".gitattributes",
    ".github/workflows/ci.yml",
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
    "targcc.yaml": "jobs and settings of this project",
}


def owner_of(path: str, package: str) -> Owner:
    """The owner of a file at `path` of a project of its own."""
    for pattern in _YOURS:
        place = pattern.format(package=package)
        if path == place or (place.endswith("/") and path.startswith(place)):
            return Owner.SCAFFOLD
    return Owner.MANAGED


def is_inherited(path: str, package: str) -> bool:
    """Whether a file follows the generator where that can be merged."""
    return path in {pattern.format(package=package) for pattern in _INHERITED}


def summary_of(path: str, package: str) -> str:
    """A few words about a file that newcomers should know of, or nothing."""
    if path.startswith("migrations/scheduler."):
        return "the scheduler's tables, for review"
    for pattern, summary in _SUMMARIES.items():
        if path == pattern.format(package=package):
            return summary
    return ""


# Paths of a project inside an existing app.

_NESTED = ("jobs/",)
_SINGLE = ("scheduler.py", "services.py", "__init__.py")
_KEPT = ("targcc.yaml", ".targcc/", "vendor/")


def embedded(files: Iterable[TreeFile], spec: Spec) -> list[TreeFile]:
    """The scheduler, the jobs and their services, and the spec; nothing of what an app has itself."""
    result = []
    for file in files:
        path = embedded_path(file.path, spec)
        if path is not None:
            test_of = embedded_path(file.test_of, spec) if file.test_of else ""
            result.append(replace(file, path=path, test_of=test_of or ""))
    return result


def embedded_path(path: str, spec: Spec) -> str | None:
    """Where a file of a whole project goes in the app's project; `None` for one that the app does without."""
    package = spec.project.package
    folder = _folder(spec)
    code = path.removeprefix(f"src/{package}/")
    if code != path:
        return f"{folder}/{code}" if code.startswith(_NESTED) or code in _SINGLE else None
    return path if path.startswith(_KEPT) else None


def layout_of(spec: Spec) -> Layout:
    """Where a project of its own, or the app that the scheduler went into, has the package."""
    if spec.project.inside is None:
        return Layout(f"src/{spec.project.package}")
    return Layout(_folder(spec), f"{_folder(spec)}/migrations")


def _folder(spec: Spec) -> str:
    inside, package = spec.project.inside, spec.project.package
    return package if inside in {None, "."} else f"{inside}/{package}"
