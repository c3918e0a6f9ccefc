"""Render the project's own files: the copier template in `templates/project/`, and files made from the spec itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targcc_gen import assets
from targcc_gen.render import vendor, wheel
from targcc_gen.render.package import DISTRIBUTION, SOURCE_TREE, origin_of
from targcc_gen.render.team import overlaid
from targcc_gen.render.tree import TreeFile, is_inherited, owner_of, summary_of

if TYPE_CHECKING:
    from targcc_gen.spec import Spec


# Texts that earlier releases wrote into people's files.
# Their locks kept no text of these files to merge against, only its checksum. The folder `older` has the texts, release by release: `.txt`
# word for word, `.jinja` to be rendered as that release did.

_FOLDER = Path(__file__).with_name("older")
_IN_PACKAGE = {"main.py", "services.py"}


def earlier_texts(spec: Spec) -> dict[str, tuple[bytes, ...]]:
    """The texts by the path of the file in a project of its own, the latest release's last."""
    result: dict[str, tuple[bytes, ...]] = {}
    for template in sorted(_FOLDER.glob("*/*")):
        name = template.name.removesuffix(template.suffix)
        path = f"src/{spec.project.package}/{name}" if name in _IN_PACKAGE else name
        source = template.read_text(encoding="utf-8")
        text = _rendered(source, spec) if template.suffix == ".jinja" else source
        result[path] = (*result.get(path, ()), text.encode())
    return result


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
        extensions=["targcc_gen.render.jinja.Literals"],
    )
    return environment.from_string(source).render


# Project files.


def render_template(spec: Spec) -> list[TreeFile]:
    """What copier makes of the template, the scheduler's module, and the scheduler itself where the project carries it."""
    package = spec.project.package
    copied = _copied(assets.project_template(), json.dumps(template_data(spec)))
    files = [_tree_file(path, content, package) for path, content in copied]
    earlier = earlier_texts(spec)
    files = [replace(file, earlier=earlier.get(file.path, ())) for file in files]
    files += (_tree_file(*scheduler_file, package) for scheduler_file in _scheduler(spec))
    return overlaid(files, spec, template_data(spec))


def _scheduler(spec: Spec) -> Iterator[tuple[str, bytes]]:
    """The path in the project and the bytes of each file that is made of the scheduler's distribution."""
    yield f"src/{spec.project.package}/scheduler.py", vendor.scheduler_module(spec)
    if spec.scheduler == "vendored":
        yield from vendor.source_tree()
    elif vendor.package_origin(spec) is None:
        yield wheel.wheel_path(), wheel.wheel()


def spec_files(spec: Spec, text: str | None) -> list[TreeFile]:
    """The spec, to the byte as the person wrote it, and the schema with which editors check it."""
    from targcc_gen.spec import dump_spec

    package, path = spec.project.package, "targcc.yaml"
    content = (text if text is not None else dump_spec(spec)).encode()
    return [
        TreeFile(path, content, owner_of(path, package), summary=summary_of(path, package)),
        _tree_file(".targcc/schema.json", _schema(), package),
    ]


@cache
def _schema() -> bytes:
    from targcc_gen.spec.json_schema import spec_schema

    return (json.dumps(spec_schema(), indent=2, ensure_ascii=False) + "\n").encode()


def template_data(spec: Spec) -> dict[str, Any]:
    """What the files of the template are told; they print it and compute nothing."""
    return {
        "project": spec.project.model_dump(),
        "package": spec.project.package,
        "scheduler": spec.scheduler,
        "database": spec.database,
        "requirements": vendor.project_requirements(spec),
        "extras": vendor.project_extras(spec),
        "source": _source(spec),
        "install": _install(spec),
        "generator": _generator(),
    }


def _source(spec: Spec) -> str:
    """The table by which uv finds the scheduler in the project; empty where the requirement says where it is."""
    if spec.scheduler == "vendored":
        return f'{{ path = "{SOURCE_TREE}", editable = true }}'
    return "" if vendor.package_origin(spec) else f'{{ path = "{wheel.wheel_path()}" }}'


def _install(spec: Spec) -> dict[str, str]:
    """How the scheduler is installed alone, in the words of `uv pip install` and of pip."""
    if spec.scheduler == "vendored":
        return {"uv": f"--editable {SOURCE_TREE}", "pip": f"./{SOURCE_TREE} ."}
    origin = vendor.package_origin(spec)
    if origin is None:
        return {"uv": "vendor/targcc_scheduler-*.whl", "pip": "--find-links vendor ."}
    return {"uv": f'"{DISTRIBUTION} @ {origin.reference}"', "pip": "."}


def _generator() -> str:
    """What `uvx --from` takes for this generator on any machine; empty where that is not known."""
    origin = origin_of("targcc-gen")
    return "" if origin is None else f"targcc-gen @ {origin.reference}"


@lru_cache(maxsize=16)
def _copied(template: Path, data: str) -> tuple[tuple[str, bytes], ...]:
    """The path in the project and the bytes of each file that copier makes of the template; ``data`` is JSON.

    A command renders the same project more than once: as it is and as it will be.
    """
    with tempfile.TemporaryDirectory(prefix="targcc-gen-") as folder:
        staging = Path(folder) / "project"
        _copy(template, json.loads(data), staging)
        return tuple(
            (path.relative_to(staging).as_posix(), path.read_bytes())
            for path in sorted(staging.rglob("*"))
            if path.is_file()
        )


def _copy(template: Path, data: dict[str, Any], target: Path) -> None:
    import copier
    from plumbum import local

    from targcc_gen.render.jinja import reusing_templates

    # Without git on its path copier does not ask git about every file it writes; `target` is no repository.
    with local.env(PATH=""), reusing_templates():
        copier.run_copy(
            str(template),
            target,
            data=data,
            settings=copier.Settings(),
            defaults=True,
            overwrite=True,
            quiet=True,
            unsafe=True,  # our own template: it loads our own filters
        )


def _tree_file(path: str, content: bytes, package: str) -> TreeFile:
    # A checkout of the generator on Windows may have CRLF; a project is the same from everywhere.
    if b"\0" not in content:
        content = content.replace(b"\r\n", b"\n")
    return TreeFile(
        path,
        content,
        owner_of(path, package),
        executable=content.startswith(b"#!"),
        inherited=is_inherited(path, package),
        summary=summary_of(path, package),
    )
