"""The table of moved files covers every managed file of an earlier release."""

import json
import tarfile

import older_projects
import pytest
from targcc_gen.render import render_project
from targcc_gen.render.tree import Layout
from targcc_gen.spec import load_spec, parse_spec
from targcc_gen.sync.lock import Lock, digest
from targcc_gen.sync.renames.table import HOME, Renames

SPEC = """\
targcc: 1
project: {name: acme-jobs, package: acme_jobs}
scheduler: vendored
jobs: {}
"""


def managed(release: str, project: str) -> set[str]:
    """Return the managed files of a project of an earlier release."""
    with tarfile.open(older_projects.DATA / release / older_projects.ARCHIVE) as archive:
        lock = archive.extractfile(f"{project}/{older_projects.LOCK}").read().decode()
    entries = [json.loads(line) for line in lock.splitlines()[1:]]
    return {entry["path"] for entry in entries if entry["owner"] == "managed"}


@pytest.mark.parametrize("release", ["0.1", "before-vendor"])
@pytest.mark.slow
def test_each_managed_file_of_an_earlier_release_is_there_or_in_the_table(release):
    tree = render_project(parse_spec(SPEC))
    renames = Renames.load(tree.layout)
    lost = {
        path
        for path in managed(release, "acme-jobs") - set(tree.files)
        if renames.targets(path, tree.files) is None
    }
    assert lost == set()


@pytest.mark.slow
@pytest.mark.parametrize(("project", "count"), [("acme-jobs", 9), ("shop", 1)])
def test_what_an_earlier_release_wrote_into_peoples_files_is_known(tmp_path, project, count):
    older_projects.unpack("0.1", tmp_path)
    spec = load_spec(tmp_path / project / "targcc.yaml")
    tree, lock = render_project(spec), Lock.load(tmp_path / project)
    known = {path for path, entry in lock.entries.items() if entry.packed is None}
    inherited = [file for file in tree if file.inherited and file.path in known]
    assert len(inherited) == count
    for file in inherited:
        assert lock.entries[file.path].sha256 in map(digest, file.earlier), file.path


def test_the_rows_are_found_in_an_app_too():
    places = Renames.load(Layout("shop", "shop/migrations")).places
    assert places["shop/scheduler/masking.py"] == (f"{HOME}core/secrets.py",)
    assert places["shop/migrations/env.py"] == (f"{HOME}migrations/env.py",)


def test_no_file_moves_to_where_it_was():
    rows = Renames.load(Layout("src/acme")).places
    assert [old for old, new in rows.items() if new == (old,)] == []
