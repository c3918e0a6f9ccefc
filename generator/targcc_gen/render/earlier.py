"""What earlier releases wrote into files that people own.

Their locks kept no text of these files to merge against, only its checksum. The folder `older` has the texts, release by release: `.txt`
word for word, `.jinja` to be rendered as that release did.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from targcc_gen.spec import Spec

_FOLDER = Path(__file__).with_name("older")
_IN_PACKAGE = {"main.py", "services.py"}


def earlier_texts(spec: Spec) -> dict[str, tuple[bytes, ...]]:
    """The texts by the path of the file in a project of its own, the latest release's last."""
    found: dict[str, tuple[bytes, ...]] = {}
    for template in sorted(_FOLDER.glob("*/*")):
        name = template.name.removesuffix(template.suffix)
        path = f"src/{spec.project.package}/{name}" if name in _IN_PACKAGE else name
        source = template.read_text(encoding="utf-8")
        text = _rendered(source, spec) if template.suffix == ".jinja" else source
        found[path] = (*found.get(path, ()), text.encode())
    return found


def _rendered(source: str, spec: Spec) -> str:
    project = spec.project
    return _template(source)(
        project=project.model_dump(), package=project.package, database=spec.database
    )


@cache
def _template(source: str) -> Callable[..., str]:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(  # noqa: S701 - it makes no HTML
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        extensions=["targcc_gen.render.jinja_ext.Literals"],
    )
    return environment.from_string(source).render
