"""The manual's site builds without a warning, and a reader's browser requests nothing from another host."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(?P<src>[^\"]+)\"|<link\b(?![^>]*rel=\"(?:canonical|next|prev)\")[^>]*\bhref=\"(?P<href>[^\"]+)\"",
    re.IGNORECASE,
)
STYLE = re.compile(r"url\(\s*['\"]?(?P<url>[^)'\"]+)|@import\s+['\"](?P<other>[^'\"]+)")

pytestmark = pytest.mark.soak  # a build takes ten seconds


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("manual")
    words = ["--quiet", "--fail-on-warning", "--keep-going", str(ROOT / "docs"), str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


def foreign(address: str) -> bool:
    return bool(re.match(r"(?:https?:)?//", address))


def test_no_page_loads_anything_from_another_host(site: Path):
    pages = list(site.rglob("*.html"))
    loaded = {
        address
        for page in pages
        for match in LOADED.finditer(page.read_text(encoding="utf-8"))
        for address in match.groups()
        if address
    }
    styles = {
        address
        for sheet in (*site.rglob("*.css"), *pages)
        for match in STYLE.finditer(sheet.read_text(encoding="utf-8"))
        for address in match.groups()
        if address
    }
    assert len(pages) > 40
    assert [address for address in loaded | styles if foreign(address)] == []


def test_the_manual_can_be_searched_and_read_by_programs(site: Path):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert all(word in index for word in ("getting-started", "reference/settings", "glossari"))
    listed = re.findall(r"\]\((\S+\.md)\)", (site / "llms.txt").read_text(encoding="utf-8"))
    assert len(listed) > 40
    assert [name for name in listed if not (site / name).is_file()] == []
    assert "TARGCC_DATABASE_URL" in (site / "llms-full.txt").read_text(encoding="utf-8")


def test_versions_are_published_side_by_side(tmp_path: Path):
    clone = tmp_path / "clone"
    git = [
        "git",
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@example.com",
        "-c",
        "protocol.file.allow=always",
    ]
    subprocess.run(
        [*git, "clone", "--quiet", "--depth", "1", ROOT.as_uri(), str(clone)], check=True
    )
    for name in ("docs", ".ci"):
        shutil.rmtree(clone / name)
        shutil.copytree(ROOT / name, clone / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "uv").write_text(
        f'#!/bin/sh\nshift\nif [ "$1" = --group ]; then shift 2; fi\n'
        f'case $1 in sphinx-build) shift; exec {sys.executable} -m sphinx "$@" ;; esac\n'
        f'shift\nexec {sys.executable} "$@"\n',
        encoding="utf-8",
    )
    (programs / "uv").chmod(0o755)
    names = {
        f"GIT_{who}_{what}": "a@example.com"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    environment = os.environ | names | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", ".ci/publish-manual", "pages"], cwd=clone, env=environment, check=True)

    def show(path: str) -> str:
        return subprocess.check_output(["git", "show", f"pages:{path}"], cwd=clone, text=True)

    [version] = json.loads(show("versions.json"))
    assert f"url={version}/" in show("index.html")
    assert f"targcc-gen {version}" in show(f"{version}/index.html")
