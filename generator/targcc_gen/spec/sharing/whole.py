"""The spec of a project, with what it extends and with its team's blueprints; quick for a project that has neither."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targcc_gen.spec.blueprint_names import OVERRIDES, Library, use
from targcc_gen.spec.reading.loader import parse_spec, parse_tree

if TYPE_CHECKING:
    from targcc_gen.spec.models import Spec


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
    keys = parse_tree(text, filename)[0].entries.keys()
    if not (keys & {"extends", "blueprints"} or (root / OVERRIDES).exists()):
        use(Library())
        return parse_spec(text, filename)
    from targcc_gen.spec.sharing.library import read_library
    from targcc_gen.spec.sharing.shared import effective, layers_of

    use(read_library(layers_of(text, root, filename), root))
    spec = parse_spec(text, filename)
    return effective(text, root, filename) if "extends" in keys else spec
