"""Projects as earlier releases rendered them, kept in `tests/data/upgrade/<release>/projects.tar.xz`.

Create an archive in a checkout of that release, where `targcc-gen` is the release's own:

    git worktree add /tmp/release 22dabe5
    cd /tmp/release && uv sync
    PATH="$PWD/.venv/bin:$PATH" python CHECKOUT/tests/generator/sync/older_projects.py CHECKOUT/tests/data/upgrade/0.1

`before-vendor` is the last commit before the scheduler moved to `vendor/`, 0f6f699f; its command ends with
`CHECKOUT/tests/data/upgrade/before-vendor --vendored`.

The archive holds the bytes of every file, and each lock line without its base. The base is the compressed text of the file beside it, and
unpacking restores it. So the archive takes half the space; nothing else is changed.
"""

from __future__ import annotations

import base64
import bz2
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "data" / "upgrade"
ARCHIVE = "projects.tar.xz"
LOCK = ".targcc/lock.jsonl"
MAIN = """from fastapi import FastAPI

app = FastAPI(title="Shop")


@app.get("/")
def root():
    return {"hello": "Shop"}
"""
COMMANDS = (
    ("acme-jobs", ("new", ".", "--yes")),
    ("acme-jobs", ("job", "DailySalesReport", "--cron", "0 2 * * *", "--blueprint", "report")),
    ("acme-jobs", ("job", "PurgeCarts", "--every", "15m", "--retries", "2")),
    ("shop", ("patch", "--no-verify")),
)


def unpack(release: str, folder: Path) -> None:
    """Write the projects of a release into `folder`: `acme-jobs`, and the patched app `shop`."""
    with tarfile.open(DATA / release / ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    for lock in folder.glob(f"*/{LOCK}"):
        root = lock.parents[1]
        lines = [_with_base(line, root) for line in lock.read_text(encoding="utf-8").splitlines()]
        lock.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def pack(target: Path, *options: str) -> None:
    """Render the projects with the `targcc-gen` on the path and write the archive into `target`; `patch` gets the options."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in (
            ("acme-jobs", None),
            ("shop/pyproject.toml", '[project]\nname = "shop"\n'),
        ):
            place = folder / path
            (place if text is None else place.parent).mkdir(exist_ok=True)
            if text is not None:
                place.write_text(text, encoding="utf-8")
        (folder / "shop/shop").mkdir()
        (folder / "shop/shop/__init__.py").write_text("", encoding="utf-8")
        (folder / "shop/shop/main.py").write_text(MAIN, encoding="utf-8")
        for project, command in COMMANDS:
            more = options if command[0] == "patch" else ()
            subprocess.run(["targcc-gen", *command, *more], cwd=folder / project, check=True)
        target.mkdir(parents=True, exist_ok=True)
        with tarfile.open(target / ARCHIVE, "w:xz", preset=9) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                _add(archive, path.relative_to(folder).as_posix(), _content(path))


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if not path.as_posix().endswith(LOCK):
        return content
    root = path.parents[1]
    lines = [_without_base(line, root) for line in content.decode().splitlines()]
    return "".join(f"{line}\n" for line in lines).encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # without time and owner, so the bytes are the same each time
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _without_base(line: str, root: Path) -> str:
    data = json.loads(line)
    if "base" in data and data["sha256"] == _digest(root / data["path"]):
        data["base"] = None
    return json.dumps(data, ensure_ascii=False)


def _with_base(line: str, root: Path) -> str:
    data = json.loads(line)
    if "base" in data and data["base"] is None:
        content = (root / data["path"]).read_bytes()
        data["base"] = _packed(content)
    return json.dumps(data, ensure_ascii=False)


@cache
def _packed(content: bytes) -> str:
    return base64.b85encode(bz2.compress(content, 1)).decode()


if __name__ == "__main__":
    pack(Path(sys.argv[1]), *sys.argv[2:])
