"""Rendered files, reviewed like code: every file except plain copies, and the list of all files."""

from pathlib import Path

import pytest
from targcc_gen.assets import examples, project_template
from targcc_gen.render import Tree, render_project
from targcc_gen.render.package import PACKAGE, SOURCE_TREE
from targcc_gen.render.wheel import wheel_version
from targcc_gen.spec import load_spec

from golden import assert_matches, difference  # isort: skip

HERE = Path(__file__).parent
SPECS = {
    "acme": examples() / "acme" / "targcc.yaml",
    "everything": HERE / "specs" / "everything.yaml",
    "heartbeat": HERE / "specs" / "heartbeat.yaml",
    "mssql": HERE / "specs" / "mssql.yaml",
    "vendored": HERE / "specs" / "vendored.yaml",
}
TREES = ("acme", "everything", "heartbeat")
"""Trees that are kept whole. The trees of `mssql` and `vendored` are kept as their difference from the tree of `heartbeat`."""
LISTING = "FILES.txt"
_LOCAL = "+h0000000000"  # replaces the part computed from the wheel's content


def reviewed_part(tree: Tree) -> dict[str, str]:
    """Return the rendered files, and all paths with their owners; plain copies are reviewed at their source."""
    copies = {path.read_bytes() for path in project_template().rglob("*") if path.is_file()}
    local = f"+{wheel_version().partition('+')[2]}"
    texts = {
        file.path: file.content.decode().replace(local, _LOCAL)
        for file in tree
        if file.content not in copies and not file.path.endswith(("schema.json", ".whl"))
        if not file.path.startswith(f"{SOURCE_TREE}/")
    }
    lines = dict.fromkeys(f"{file.owner.shown:<8} {_shown(file.path)}\n" for file in tree)
    return {**texts, LISTING: "".join(lines).replace(local, _LOCAL)}


def _shown(path: str) -> str:
    """Return a path, or the folder for files of the scheduler's package: `test_render_project` compares those files."""
    folder = f"{SOURCE_TREE}/{PACKAGE}/"
    return folder if path.startswith(folder) else path


@pytest.mark.parametrize("name", TREES)
def test_the_tree_is_the_reviewed_one(snapshot, name):
    tree = render_project(load_spec(SPECS[name]))
    assert_matches(snapshot, reviewed_part(tree), HERE / "trees" / name)


@pytest.mark.parametrize("name", ["mssql", "vendored"])
def test_another_project_differs_in_the_reviewed_lines(snapshot, name):
    heartbeat, other = (
        reviewed_part(render_project(load_spec(SPECS[spec]))) for spec in ("heartbeat", name)
    )
    snapshot.snapshot_dir = HERE / "trees"
    snapshot.assert_match(difference(heartbeat, other), f"{name}.diff")
