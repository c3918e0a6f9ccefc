"""The spec of a project, with what it extends and with its team's blueprints; quick for a project that has neither."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from targcc_gen.spec.blueprint_names import OVERRIDES, Library, use
from targcc_gen.spec.reading.loader import parse_spec, parse_tree

if TYPE_CHECKING:
    from targcc_gen.spec.models import Spec

_LOCK = ".targcc/lock.jsonl"
_LARGEST_LOCK = 64_000_000


def whole_spec(text: str, root: Path, filename: str = "targcc.yaml") -> Spec:
    """Read a project's spec; from now on this process knows the blueprints of its team.

    Args:
        text: The spec.
        root: The project's folder.
        filename: The spec, as messages name it.

    Raises:
        SpecErrors: A file is wrong, or what they say together.
        InputError: A file of a blueprint is none.
    """
    spec = spec_as_said(text, root, filename)
    if spec.scheduler == "vendored" or not is_vendored_silently(spec, root):
        return spec
    return spec.model_copy(update={"scheduler": "vendored"})


def is_vendored_silently(spec: Spec, root: Path) -> bool:
    """Whether a project has its own scheduler in its package, which was the default of releases before 0.2, and does not say so.

    Args:
        spec: Its spec.
        root: Its folder.
    """
    if "scheduler" in spec.model_fields_set:
        return False
    lock = _lock(root / _LOCK)
    inside, package = spec.project.inside, spec.project.package
    folder = {None: "src/", ".": ""}.get(inside, f"{inside}/")
    own = f'"path": "{folder}{package}/scheduler/'
    return lock.count(own) > lock.count(f'{own}__init__.py"')


def _lock(path: Path) -> str:
    """The text of the lock; empty where there is none, and for a link, a device or a file that is too large to be one."""
    try:
        status = path.lstat()
        is_file = stat.S_ISREG(status.st_mode) and not path.parent.is_symlink()
        if not is_file or status.st_size > _LARGEST_LOCK:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def spec_as_said(text: str, root: Path, filename: str = "targcc.yaml") -> Spec:
    """Read what a spec says, with what it extends; see `whole_spec`."""
    keys = parse_tree(text, filename)[0].entries.keys()
    if not (keys & {"extends", "blueprints"} or (root / OVERRIDES).exists()):
        use(Library())
        return parse_spec(text, filename)
    from targcc_gen.spec.sharing.library import read_library
    from targcc_gen.spec.sharing.shared import effective, layers_of

    use(read_library(layers_of(text, root, filename), root))
    spec = parse_spec(text, filename)
    return effective(text, root, filename) if "extends" in keys else spec
