"""Render the project's own files: the copier template in `templates/project/`, and files computed from the spec."""

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


# Texts that earlier releases wrote into scaffold files.
# The locks of those releases hold only a checksum of such a file, no text to merge against. The folder `older` has the texts by
# release: `.txt` is the text itself, `.jinja` is rendered as by that release.

_FOLDER = Path(__file__).with_name("older")
_IN_PACKAGE = {"main.py", "services.py"}


def earlier_texts(spec: Spec) -> dict[str, tuple[bytes, ...]]:
    """Map the path of a file in a standalone project to its texts of earlier releases, the latest release last."""
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
    """Return the files of the copier template and the scheduler's modules; add the scheduler itself if the project carries it in `vendor/`."""
    package = spec.project.package
    copied = _copied(assets.project_template(), json.dumps(template_data(spec)))
    files = [_tree_file(path, content, package) for path, content in copied]
    earlier = earlier_texts(spec)
    files = [replace(file, earlier=earlier.get(file.path, ())) for file in files]
    files += (_tree_file(*scheduler_file, package) for scheduler_file in _scheduler(spec))
    return overlaid(files, spec, template_data(spec))


def _scheduler(spec: Spec) -> Iterator[tuple[str, bytes]]:
    """Yield the path in the project and the bytes of each file made from the scheduler's distribution."""
    yield f"src/{spec.project.package}/scheduler.py", vendor.scheduler_module(spec)
    yield f"src/{spec.project.package}/__main__.py", vendor.main_module(spec)
    if spec.flows:
        yield f"src/{spec.project.package}/flows.py", vendor.flows_module(spec)
    if spec.scheduler == "vendored":
        yield from vendor.source_tree()
    elif vendor.package_origin(spec) is None:
        yield wheel.wheel_path(), wheel.wheel()


def spec_files(spec: Spec, text: str | None) -> list[TreeFile]:
    """Return the spec, byte for byte as the user wrote it, and its JSON schema for editors."""
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
    """Return the variables of the template's files. All logic is here; a template only prints."""
    return {
        "project": spec.project.model_dump(),
        "package": spec.project.package,
        "scheduler": spec.scheduler,
        "database": spec.database,
        "checks": spec.checks,
        "ci": spec.ci,
        "requirements": vendor.project_requirements(spec),
        "extras": vendor.project_extras(spec),
        "source": _source(spec),
        "install": _install(spec),
        "generator": _generator(),
    }


def _source(spec: Spec) -> str:
    """Return the uv source table of the scheduler; empty if the requirement itself has the address."""
    if spec.scheduler == "vendored":
        return f'{{ path = "{SOURCE_TREE}", editable = true }}'
    return "" if vendor.package_origin(spec) else f'{{ path = "{wheel.wheel_path()}" }}'


def _install(spec: Spec) -> dict[str, str]:
    """Return the arguments that install the scheduler alone, for `uv pip install` and for pip."""
    if spec.scheduler == "vendored":
        return {"uv": f"--editable {SOURCE_TREE}", "pip": f"./{SOURCE_TREE} ."}
    origin = vendor.package_origin(spec)
    if origin is None:
        return {"uv": "vendor/targcc_scheduler-*.whl", "pip": "--find-links vendor ."}
    return {"uv": f'"{DISTRIBUTION} @ {origin.reference}"', "pip": "."}


def _generator() -> str:
    """Return the argument of `uvx --from` for this generator on any machine; empty if its origin is unknown."""
    origin = origin_of("targcc-gen")
    return "" if origin is None else f"targcc-gen @ {origin.reference}"


@lru_cache(maxsize=16)
def _copied(template: Path, data: str) -> tuple[tuple[str, bytes], ...]:
    """Return the path in the project and the bytes of each file that copier renders. ``data`` is JSON.

    The cache exists because a command renders a project more than once: before and after its change.
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

    # With git on its path copier would ask git about every file it writes. `target` is no repository.
    with local.env(PATH=""), reusing_templates():
        copier.run_copy(
            str(template),
            target,
            data=data,
            settings=copier.Settings(),
            defaults=True,
            overwrite=True,
            quiet=True,
            unsafe=True,  # our own template loads our own filters
        )


def _tree_file(path: str, content: bytes, package: str) -> TreeFile:
    # A checkout of the generator on Windows may have CRLF; a project must be equal from every checkout.
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
