"""Merge both sides of a spec with git's conflict markers before rendering."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targcc_gen.errors import ConflictError

if TYPE_CHECKING:
    from targcc_gen.cli.project import Project
    from targcc_gen.render import Tree
    from targcc_gen.spec.merge import MergedSpec
    from targcc_gen.sync import Plan

_SHOWN = 60
_SPEC_FILE = "targcc.yaml"


def merged_spec(root: Path, text: str) -> MergedSpec | None:
    """Merge the two sides of a spec with conflict markers; None without markers.

    Args:
        root: The project's folder.
        text: The text of the spec on disk.

    Raises:
        InputError: The sides cannot be merged by key.
    """
    from targcc_gen.spec.loader import may_have_markers, sides_of

    if not may_have_markers(text):
        return None
    from targcc_gen.spec.merge import merge_specs
    from targcc_gen.sync.branches import stages_of

    sides = sides_of(text)
    if sides is None:  # unmatched markers: the spec's parser reports their line
        return None
    stages, names = stages_of(root, _SPEC_FILE), (sides.our_name, sides.their_name)
    if stages.ours is not None and stages.theirs is not None and stages.made(text):
        return merge_specs(stages.base, stages.ours, stages.theirs, names=names)
    return merge_specs(stages.base or sides.base, sides.ours, sides.theirs, names=names)


def with_merged_spec(tree: Tree, project: Project) -> Tree:
    """Return the tree with the spec marked to replace the text on disk, if the two differ."""
    if not project.unmerged:
        return tree

    file = replace(tree.files[_SPEC_FILE], replaces=project.unmerged.encode())
    return replace(tree, files={**tree.files, _SPEC_FILE: file})


def print_merged(project: Project) -> None:
    """Print the changes taken from each side of a merged spec."""
    if project.merged is not None:
        click.echo("targcc.yaml: git left conflict markers; merged by key:")
        for line in project.merged.taken:
            click.echo(f"  {line}")


class DisputedError(ConflictError):
    """Both branches changed the same key of the spec differently."""

    code = "TG111"

    def __init__(self, root: Path, before: str, merged: MergedSpec) -> None:
        ours, theirs = merged.names
        lines = [
            f"  {'.'.join(dispute.path)}: {_value_text(dispute.ours)} ({ours}), {_value_text(dispute.theirs)} ({theirs})"
            for dispute in merged.disputed
        ]
        count = len(lines)
        what = "a key" if count == 1 else f"{count} keys"
        super().__init__(
            "\n".join([f"targcc.yaml: both branches changed {what}, and differently:", *lines]),
            hint=(
                "decide: edit what is between the markers, then run: targcc-gen regenerate\n"
                "(targcc-gen regenerate --markers first merges the rest, and leaves markers around these alone)"
            ),
        )
        self.root, self.before, self.merged = root, before, merged

    def plan(self) -> Plan:
        """Return the plan that merges all other keys; the disputed keys keep conflict markers."""
        from targcc_gen.render import Owner, Tree, TreeFile
        from targcc_gen.sync import make_plan

        text, before = self.merged.text.encode(), self.before.encode()
        edit = TreeFile(_SPEC_FILE, text, Owner.SCAFFOLD, replaces=before)
        return make_plan(Tree.of([edit], complete=False), self.root)


def _value_text(value: object) -> str:
    if value is None:
        return "removed"
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
