"""Compare the scheduler's requirements with a project's, before a command writes anything."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from targcc_gen.dependencies.required import PythonVersions, Required
from targcc_gen.errors import FitError
from targcc_gen.render.package import DISTRIBUTION

if TYPE_CHECKING:
    from targcc_gen.dependencies.dependency import Dependency

_PYTHON = SpecifierSet(">=3.11")
_OLD = tuple(f"3.{minor}" for minor in range(6, 11))
_NEW = tuple(SpecifierSet(f"==3.{minor}.*") for minor in range(11, 20))
"""The series that have room for a patch release, such as Poetry's `python = "3.11.7"`."""


def check_fit(
    needed: Iterable[Dependency], required: Iterable[Required], pythons: Iterable[PythonVersions]
) -> None:
    """Check that a project's versions leave room for the scheduler.

    Args:
        needed: The dependencies to declare.
        required: The project's requirements.
        pythons: The project's Python versions.

    Raises:
        FitError: A requirement excludes every version that the scheduler needs.
    """
    lines = [*_of_python(pythons), *_of_versions(needed, [*required])]
    if lines:
        raise FitError(
            "\n".join(["the scheduler does not fit the project's requirements", *lines]),
            hint="Nothing was written. Allow these versions, then run this again; or give the scheduler a project of its own: targcc-gen new",
        )


def _of_python(pythons: Iterable[PythonVersions]) -> Iterator[str]:
    for python in pythons:
        old = [version for version in _OLD if python.versions.contains(version)]
        is_new = any(meet(python.versions, series) for series in _NEW)
        if not is_new or (python.covers and old):
            advice = f'; "{_narrowed(python.versions)}" fits' if is_new else ""
            yield f"  {python.path}  {python.text}: the scheduler needs Python 3.11 or later{advice}"


def _narrowed(versions: SpecifierSet) -> str:
    """Return a range without the versions that are too old."""
    upper = [str(bound) for bound in versions if bound.operator in {"<", "<=", "!="}]
    return ",".join([str(_PYTHON), *sorted(upper)])


def _of_versions(needed: Iterable[Dependency], required: list[Required]) -> Iterator[str]:
    own = {requirement.name: requirement for requirement in requirements_of(needed)}
    for requirement in required:
        need = own.get(requirement.name)
        if (
            need
            and requirement.versions is not None
            and not meet(requirement.versions, need.versions)
        ):
            yield f"  {requirement.path}  {requirement.text}: the scheduler needs {need.text}"


def requirements_of(needed: Iterable[Dependency]) -> Iterator[Required]:
    """Yield the requirements of the scheduler's distribution with the extras of the dependencies."""
    extras = {extra for dependency in needed for extra in dependency.extras}
    for text in importlib.metadata.requires(DISTRIBUTION) or ():
        parsed = Requirement(text)
        marker = parsed.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            shown = f"{parsed.name}{parsed.specifier}"
            yield Required(
                canonicalize_name(parsed.name), frozenset(), parsed.specifier, shown, DISTRIBUTION
            )


def meet(left: SpecifierSet, right: SpecifierSet | None) -> bool:
    """Return whether some version is in both sets; whether that version was released is not known here."""
    if right is None:
        return True
    both = [*left, *right]
    candidates = [version for bound in both for version in _near(bound.version)]
    return not candidates or any(
        left.contains(version, prereleases=True) and right.contains(version, prereleases=True)
        for version in candidates
    )


def _near(text: str) -> Iterator[str]:
    """Yield a bound, a version just above, and a version just below."""
    try:
        version = Version(text.removesuffix(".*"))
    except InvalidVersion:
        return
    numbers = [*version.release]
    yield str(version)
    yield ".".join(map(str, [*numbers, 0, 0, 1]))
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    if numbers[-1]:
        yield ".".join(map(str, [*numbers[:-1], numbers[-1] - 1, 99_999]))
    if text.endswith(".*") or len(numbers) > 1:  # the end of the series of `==1.2.*` and `~=1.2`
        for size in range(1, len(version.release) + 1):
            yield ".".join(map(str, [*version.release[:size], 99_999]))
