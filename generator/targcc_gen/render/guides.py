"""The guides for people who write jobs: part of the scheduler's package, and copied into a project that has its own copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from targcc_gen.render.literals import pyliteral
from targcc_gen.render.package import package_files
from targcc_gen.render.vendor import marked

if TYPE_CHECKING:
    from targcc_gen.spec import Spec

FOLDER = "docs/"
"""Where they are, in the package and in a project alike."""


def guide_files(spec: Spec) -> Iterator[tuple[str, bytes]]:
    """The path in the project and the bytes of each guide; none where the package is installed, which has them."""
    if spec.scheduler == "package":
        return
    for path, content in package_files():
        if path.startswith(FOLDER):
            yield path, marked(path, _told(content.decode(), spec).encode())


def _told(text: str, spec: Spec) -> str:
    """The text with the project's own names; in the package its examples are those of acme-jobs."""
    text = text.replace('"acme-jobs"', pyliteral(spec.project.name))
    return text.replace("acme_jobs", spec.project.package)
