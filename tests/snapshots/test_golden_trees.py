"""What is rendered, reviewed like code: every file that is not a plain copy, and the list of all."""

from pathlib import Path

import pytest
from targcc_gen.assets import examples, project_template
from targcc_gen.render import Tree, render_project
from targcc_gen.render.package import package_files
from targcc_gen.render.vendor import marked
from targcc_gen.render.wheel import wheel_version
from targcc_gen.spec import load_spec

from golden import assert_matches  # isort: skip

HERE = Path(__file__).parent
SPECS = {
    "acme": examples() / "acme" / "targcc.yaml",
    "everything": HERE / "specs" / "everything.yaml",
    "heartbeat": HERE / "specs" / "heartbeat.yaml",
    "package": HERE / "specs" / "package.yaml",
}
LISTING = "FILES.txt"
_LOCAL = "+h0000000000"  # instead of what is made of the content of the wheel


def reviewed_part(tree: Tree) -> dict[str, str]:
    """The files that were rendered, and all paths with their owners; a plain copy is reviewed where it comes from."""
    copies = {path.read_bytes() for path in project_template().rglob("*") if path.is_file()}
    copies |= {marked(path, content) for path, content in package_files()}
    local = f"+{wheel_version().partition('+')[2]}"
    texts = {
        file.path: file.content.decode().replace(local, _LOCAL)
        for file in tree
        if file.content not in copies and not file.path.endswith(("schema.json", ".whl"))
        if not file.path.startswith("docs/")  # the package's guides, with the project's names
    }
    listing = "".join(f"{file.owner.shown:<8} {file.path}\n" for file in tree).replace(
        local, _LOCAL
    )
    return {**texts, LISTING: listing}


@pytest.mark.parametrize("name", SPECS)
def test_the_tree_is_the_reviewed_one(snapshot, name):
    tree = render_project(load_spec(SPECS[name]))
    assert_matches(snapshot, reviewed_part(tree), HERE / "trees" / name)
