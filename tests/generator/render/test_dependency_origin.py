"""A project names the install source of targcc-gen and its scheduler if every machine can reach the source."""

import json

import pytest
from targcc_gen.render import package, render_project
from targcc_gen.render.package import Origin, parsed
from targcc_gen.spec import parse_spec

COMMIT, SHA256 = "a" * 40, "b" * 64
GIT = {"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"}
SPEC = "targcc: 1\nproject: {name: acme-jobs}\njobs: {}\n"


@pytest.mark.parametrize(
    ("said", "reference"),
    [
        (
            {"url": "https://git.example.com/gen.git", "vcs_info": GIT},
            f"git+https://git.example.com/gen.git@{COMMIT}",
        ),
        (
            {"url": "ssh://git@git.example.com/gen", "vcs_info": GIT, "subdirectory": "x/y"},
            f"git+ssh://git@git.example.com/gen@{COMMIT}#subdirectory=x/y",
        ),
        (
            {"url": "https://x.example.com/a.whl", "archive_info": {"hashes": {"sha256": SHA256}}},
            f"https://x.example.com/a.whl#sha256={SHA256}",
        ),
        (
            {"url": "https://x.example.com/a.whl", "archive_info": {"hash": f"sha256={SHA256}"}},
            f"https://x.example.com/a.whl#sha256={SHA256}",
        ),
    ],
)
def test_a_place_for_every_machine_is_named(said, reference):
    origin = parsed(json.dumps(said))
    assert origin is not None
    assert origin.reference == reference


@pytest.mark.parametrize(
    "said",
    [
        {"url": "file:///home/dana/gen", "dir_info": {"editable": True}},
        {"url": "file:///home/dana/gen", "vcs_info": GIT},
        {"url": "file:///tmp/a.whl", "archive_info": {"hashes": {"sha256": SHA256}}},
        {"url": "https://x.example.com/a.whl", "archive_info": {}},
        {"url": "https://dana:secret@git.example.com/gen", "vcs_info": GIT},
        {"url": "https://token@x.example.com/a.whl", "archive_info": {"hash": f"sha256={SHA256}"}},
        {"url": "https://git.example.com/gen", "vcs_info": {"vcs": "git", "commit_id": "main"}},
        {"url": "https://git.example.com/gen"},
        {"url": "https://git.example.com/$(id)", "vcs_info": GIT},
        {"url": 'https://git.example.com/g"', "vcs_info": GIT},
        {"url": "https://git.example.com/gen", "vcs_info": GIT, "subdirectory": "a b"},
        {},
        [],
    ],
)
def test_any_other_place_is_not(said):
    assert parsed(json.dumps(said)) is None


def test_the_project_and_its_ci_name_the_repository_and_the_commit(monkeypatch):
    places = {
        "targcc-gen": Origin("https://git.example.com/gen", commit=COMMIT),
        "targcc-scheduler": Origin("https://git.example.com/gen", COMMIT, "templates/scheduler"),
    }
    for module in ("vendor", "project"):
        monkeypatch.setattr(f"targcc_gen.render.{module}.origin_of", places.get)

    tree = render_project(parse_spec(SPEC))

    texts = {file.path: file.content.decode() for file in tree}
    reference = f"git+https://git.example.com/gen@{COMMIT}#subdirectory=templates/scheduler"
    assert f'"targcc-scheduler[run] @ {reference}"' in texts["pyproject.toml"]
    assert "allow-direct-references = true" in texts["pyproject.toml"]
    assert not [path for path in texts if path.startswith("vendor/")]
    workflow = texts[".github/workflows/ci.yml"]
    assert (
        f'uvx --from "targcc-gen @ git+https://git.example.com/gen@{COMMIT}" targcc-gen' in workflow
    )
    assert (
        f'uv pip install --no-deps --build-constraints requirements.lock "targcc-scheduler @ {reference}" --editable .'
        in workflow
    )


def test_without_an_origin_nothing_is_installed_by_name(monkeypatch):
    monkeypatch.setattr(package, "origin_of", lambda _: None)
    texts = {file.path: file.content for file in render_project(parse_spec(SPEC))}
    workflow = texts[".github/workflows/ci.yml"].decode()
    assert "targcc-gen==" not in workflow
    assert "hashFiles('vendor/targcc_gen-*.whl') != ''" in workflow
    assert [path for path in texts if path.endswith(".whl")]
