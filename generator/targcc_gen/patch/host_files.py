"""Edit the files around an app that a patch affects: Alembic's env.py, Dockerfiles, .gitignore; and test what the patch adds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from targcc_gen.dependencies.declare import Texts, workspace_of
from targcc_gen.patch.alembic_env import find_envs
from targcc_gen.patch.dockerfile import (
    FOLDER,
    find_dockerfiles,
    lacks_folder,
    with_folders,
    without_folders,
)
from targcc_gen.patch.target_package import OWN_PACKAGE
from targcc_gen.render.wheel import wheel_path
from targcc_gen.sync import Lock, Owner, TreeFile
from targcc_gen.sync.import_style import line_length

if TYPE_CHECKING:
    from targcc_gen.dependencies.declare import Declared
    from targcc_gen.patch.layout import Layout
    from targcc_gen.patch.target_package import TargetPackage

_IGNORE = ".gitignore"
_THRESHOLD = re.compile(r"fail[-_]under")
_WITH_THRESHOLD = (
    ".coveragerc",
    "Makefile",
    "justfile",
    "noxfile.py",
    "pyproject.toml",
    "pytest.ini",
    "setup.cfg",
    "tox.ini",
)
_TESTS = ("tests", "test")
_LARGEST = 1_000_000


@dataclass
class HostEdits:
    """The edits of a patch around an app.

    Args:
        files: The edited and new files.
        notes: Steps that a person has to take.
    """

    files: list[TreeFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def host_edits(layout: Layout, package: TargetPackage, declared: Declared) -> HostEdits:
    """Return the edits around an app. An app that has the scheduler already gets those of its Alembic alone.

    Args:
        layout: How the app's file is imported.
        package: The scheduler's package.
        declared: The declared dependency.
    """
    edits = HostEdits()
    _of_alembic(edits, layout.root, package)
    if package.is_new:
        _of_images(edits, layout, package, declared)
        _of_git(edits, layout.root, package)
        _of_coverage(edits, layout.root, package)
    return edits


def host_undone(root: Path, lock: Lock, package: str) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield path, old bytes and new bytes of each file, without the edits of `host_edits`.

    Args:
        root: The project's folder.
        lock: The lock, which names the files that a patch edited.
        package: The scheduler's package.
    """
    envs = [*find_envs(root)]
    if envs:
        from targcc_gen.patch.alembic_edit import without_option

        length = line_length(root)
    for path, data in envs:
        if (after := without_option(data, length)) != data:
            yield path, data, after
    texts = Texts(root)
    for path, entry in lock.entries.items():
        if entry.owner is not Owner.PATCHED:
            continue
        name = path.rpartition("/")[2].lower()
        edited = None
        if "dockerfile" in name or name.startswith("containerfile"):
            edited = texts.edited(path, lambda text: without_folders(text, (FOLDER, package)))
        elif path == _IGNORE:
            edited = texts.edited(path, lambda text: _without_line(text, _ignored(package)))
        if edited is not None:
            texts.put(path, edited)
    yield from texts.changes()


def _of_alembic(edits: HostEdits, root: Path, package: TargetPackage) -> None:
    if not any(find_envs(root)):
        return  # libcst takes long to import
    from targcc_gen.patch.alembic_edit import read_envs

    for env in read_envs(root, package.source, package.package):
        edits.notes += env.by_hand
        if env.after is not None and env.after != env.before:
            edits.files.append(TreeFile(env.path, env.after, Owner.PATCHED, replaces=env.before))


def _of_images(
    edits: HostEdits, layout: Layout, package: TargetPackage, declared: Declared
) -> None:
    """Copy `vendor/`, and a package beside the app, into the images that copy the requirements or the app by name."""
    root, texts = layout.root, Texts(layout.root)
    if not any(file.startswith(f"{FOLDER}/") for file in _carried(package)):
        return
    manifest = declared.path or "requirements.txt"
    beside = []
    if package.package == OWN_PACKAGE:
        folder = "" if layout.inside == "." else f"{layout.inside}/"
        app = layout.top or f"{layout.module}.py"
        beside = [(f"{folder}{app}", f"{folder}{OWN_PACKAGE}")]
    repository = _repository(root)
    inside = root.relative_to(repository).as_posix() if repository else ""
    for file in find_dockerfiles(repository) if repository else ():
        text = _text(file)
        if not file.is_relative_to(root) and inside in text and lacks_folder(text, manifest):
            edits.notes.append(
                f"{file}: copy {inside}/{FOLDER}/ too, before the packages are installed"
            )
    for file in find_dockerfiles(root):
        path = file.relative_to(root).as_posix()
        before = texts.read(path)
        after = texts.edited(path, lambda text: with_folders(text, manifest, beside, inside))
        if before is not None and after is not None and after != before:
            edits.files.append(TreeFile(path, after, Owner.PATCHED, replaces=before))
        elif before is not None and lacks_folder(before.decode(errors="replace"), manifest):
            edits.notes.append(f"{path}: copy {FOLDER}/ too, before the packages are installed")
    for number, line in _lines(root / ".dockerignore"):
        if _excludes(line):
            edits.notes.append(
                f".dockerignore:{number} leaves {FOLDER}/ out of the image: add !{FOLDER} below it"
            )


def _repository(root: Path) -> Path | None:
    """Return the repository or the uv workspace around a project; None for a project that is the repository."""
    if (root / ".git").exists():
        return None
    workspace = workspace_of(root)
    return workspace or next((path for path in root.parents if (path / ".git").exists()), None)


def _carried(package: TargetPackage) -> tuple[str, ...]:
    """Return the path of the distribution that the project carries; empty if installers fetch it."""
    from targcc_gen.dependencies.dependency import app_dependencies

    return tuple(dependency.path for dependency in app_dependencies(package.spec))


def _of_git(edits: HostEdits, root: Path, package: TargetPackage) -> None:
    """Keep the scheduler's SQLite file out of version control, and say what would keep the wheel out."""
    lines = [*_lines(root / _IGNORE)]
    wheel = wheel_path()
    if wheel in _carried(package):
        edits.notes += [
            f"{_IGNORE}:{number} leaves out {wheel}: git add --force {wheel}"
            for number, line in lines
            if _excludes(line) or line == "*.whl"
        ]
    ignored = _ignored(package.package)
    if package.spec.database != "sqlite" or {line for _, line in lines} & {ignored, "*.db*"}:
        return
    texts = Texts(root)
    before = texts.read(_IGNORE)
    after = texts.edited(_IGNORE, lambda text: _with_line(text, ignored))
    if before is not None and after is not None:
        edits.files.append(TreeFile(_IGNORE, after, Owner.PATCHED, replaces=before))


def _ignored(package: str) -> str:
    """Return the pattern of the SQLite file and its journals."""
    return f"{package}.db*"


def _excludes(line: str) -> bool:
    return line.strip("/") in {FOLDER, f"**/{FOLDER}", "*"}


def _with_line(text: str, line: str) -> str:
    """Add a last line; a text without a line end at its end keeps that form."""
    return f"{text}{line}\n" if text.endswith("\n") or not text else f"{text}\n{line}"


def _without_line(text: str, line: str) -> str:
    if text.endswith(f"\n{line}"):
        return text.removesuffix(f"\n{line}")
    lines = text.splitlines(keepends=True)
    return "".join(other for other in lines if other.strip() != line)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is no comment."""
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def _text(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# A test for the new files, where the app's coverage must not sink.


def _of_coverage(edits: HostEdits, root: Path, package: TargetPackage) -> None:
    """Add a test of the new files to an app whose tests fail below a coverage."""
    paths = [root / name for name in _WITH_THRESHOLD]
    paths += sorted(
        (*root.glob("*.sh"), *root.glob("scripts/*"), *root.glob(".github/workflows/*"))
    )
    where = next(
        (path.relative_to(root).as_posix() for path in paths if _THRESHOLD.search(_text(path))), ""
    )
    if not where:
        return
    folder = next((name for name in _TESTS if (root / name).is_dir()), "")
    path = f"{folder}/test_{package.package}_scheduler.py"
    if not folder or (root / path).exists():
        edits.notes.append(
            f"{where} asks for a coverage: test {package.package}/scheduler.py, services.py and jobs/"
        )
        return
    has_services = not package.services_taken
    # patched, as regenerate removes a scaffold file that the spec does not ask for
    edits.files.append(
        TreeFile(path, _coverage_test(package.package, services=has_services), Owner.PATCHED)
    )


def is_coverage_test(path: str) -> bool:
    """Return whether a path is that of the test for the new files."""
    return re.fullmatch(r"tests?/test_\w+_scheduler\.py", path) is not None


def _coverage_test(package: str, *, services: bool) -> bytes:
    """Return a test that runs each line of the new files, without a plugin of pytest."""
    imported = f"from {package}.services import make_container\n" if services else ""
    made = (
        """

def test_the_services_are_offered() -> None:
    asyncio.run(make_container().close())
"""
        if services
        else ""
    )
    return f'''"""Test the parts that targcc-gen added: the scheduler, its services and the example job."""

import asyncio

from {package} import scheduler
from {package}.jobs.heartbeat import HeartbeatJob
{imported}

def test_the_example_job_succeeds() -> None:
    outcome = asyncio.run(scheduler.run_job(HeartbeatJob()))

    assert outcome.result.ok
{made}'''.encode()
