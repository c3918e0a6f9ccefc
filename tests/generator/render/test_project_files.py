"""The files around a project's code agree with the code and with each other."""

import re
from pathlib import Path

import pytest
import yaml
from targcc_gen.render import Owner, Tree, render_project
from targcc_gen.spec import load_spec

SPEC = Path(__file__).parents[2] / "data" / "e2e" / "every-blueprint.yaml"
HEADER = re.compile("Managed by targcc-gen.*regenerate merges your edits")


@pytest.fixture(scope="module")
def tree() -> Tree:
    return render_project(load_spec(SPEC))


@pytest.fixture(scope="module")
def texts(tree: Tree) -> dict[str, str]:
    return {file.path: file.content.decode() for file in tree if b"\0" not in file.content}


def settings_of(source: str, prefix: str) -> set[str]:
    """The settings that a module declares, as environment variables."""
    classes = re.findall(
        r"^class \w+\(BaseSettings\):\n(.*?)(?=^\S)", source + "\n#", re.MULTILINE | re.DOTALL
    )
    names = re.findall(r"^    ([a-z_]+): ", "".join(classes), re.MULTILINE)
    return {f"{prefix}{name}".upper() for name in names}


def test_the_example_of_env_has_every_setting_and_no_other(texts):
    settings = settings_of(texts["src/shop_jobs/scheduler/settings.py"], "TARGCC_")
    settings |= settings_of(texts["src/shop_jobs/scheduler/services/settings.py"], "APP_")

    explained = set(re.findall(r"^#?([A-Z][A-Z_]+)=", texts[".env.example"], re.MULTILINE))

    assert explained - {"POSTGRES_PASSWORD"} == settings


def test_every_managed_file_says_so_and_no_other_does(tree):
    plain = (".json", ".svg", ".mako", ".gitattributes", ".js", ".txt", ".typed")
    for file in tree:
        if b"\0" in file.content or file.path.endswith(plain) or "static" in file.path:
            continue
        top = "\n".join(file.content.decode().splitlines()[:2])
        assert bool(HEADER.search(top)) == (file.owner is Owner.MANAGED), file.path


def test_the_readme_and_the_guides_link_to_files_that_are_there(texts):
    for path in ("README.md", "docs/JOB_DEVELOPMENT_GUIDE.md", "docs/MIGRATION_GUIDE.md"):
        for link in re.findall(r"\]\(((?!http)[^)#]+)", texts[path]):
            assert (Path(path).parent / link).as_posix() in texts, f"{path}: {link}"


@pytest.mark.parametrize("path", ["docs/JOB_DEVELOPMENT_GUIDE.md", "docs/MIGRATION_GUIDE.md"])
def test_a_guide_s_contents_lead_to_its_sections(texts, path):
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", texts[path], flags=re.DOTALL), re.MULTILINE
    )
    anchors = {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}

    links = re.findall(r"\]\(#([^)]+)\)", texts[path])

    assert links
    assert set(links) <= anchors


@pytest.mark.parametrize(
    "path", ["compose.yaml", ".github/workflows/ci.yml", ".pre-commit-config.yaml"]
)
def test_a_yaml_file_is_one_whatever_the_project_is_called(texts, path):
    assert isinstance(yaml.safe_load(texts[path]), dict)


def test_ci_and_pre_commit_check_that_the_managed_files_follow_the_spec(texts):
    for path in (".github/workflows/ci.yml", ".pre-commit-config.yaml"):
        assert "targcc-gen regenerate --check" in texts[path]


def test_an_image_is_built_from_what_the_context_lets_through(texts):
    let_through = set(re.findall(r"^!(.+)$", texts[".dockerignore"], re.MULTILINE))

    assert {"src/", "pyproject.toml", "README.md"} <= let_through
    assert ".env" not in let_through
