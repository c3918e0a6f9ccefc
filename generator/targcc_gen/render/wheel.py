"""The wheel of the scheduler, made from the installed package, for a project that depends on it.

It is what the release's own build makes of the same files, but for the line that names the builder: the same bytes on any
machine. Nothing in it is compressed, since zlib's output differs from version to version; git compresses what it keeps.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from functools import cache

from targcc_gen.render.vendor import DISTRIBUTION, PACKAGE, package_files

FOLDER = "vendor"
"""Where a project keeps it."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = 0o100644 << 16
_UNIX = 3
_WHEEL = """\
Wheel-Version: 1.0
Generator: targcc-gen
Root-Is-Purelib: true
Tag: py3-none-any
"""


def wheel_name() -> str:
    """The file's name, which holds the version."""
    return f"{PACKAGE}-{_distribution().version}-py3-none-any.whl"


def wheel_path() -> str:
    """Where it is in a project: POSIX path below the project's folder."""
    return f"{FOLDER}/{wheel_name()}"


@cache
def wheel() -> bytes:
    """The wheel."""
    files = [*package_files(), *_information()]
    record = f"{_information_folder()}/RECORD"
    lines = [_recorded(path, content) for path, content in _placed(files)]
    files.append((record, "".join([*lines, f"{record},,\n"]).encode()))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in _placed(files):
            archive.writestr(_entry(path), content)
    return buffer.getvalue()


def _placed(files: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The files at their paths in the wheel: the package's below its name, what is told about it as it stands."""
    about = _information_folder()
    return [
        (path if path.startswith(about) else f"{PACKAGE}/{path}", content)
        for path, content in files
    ]


def _information() -> list[tuple[str, bytes]]:
    """The files that describe the distribution, without the list of all."""
    found = _distribution()
    folder = _information_folder()
    texts = {name: found.read_text(name) for name in ("METADATA", "entry_points.txt")}
    texts["WHEEL"] = _WHEEL
    for name in found.metadata.get_all("License-File", []):
        texts[f"licenses/{name}"] = found.read_text(f"licenses/{name}")
    told = [(f"{folder}/{name}", text) for name, text in sorted(texts.items()) if text is not None]
    return [(path, text.replace("\r\n", "\n").encode()) for path, text in told]


def _distribution() -> importlib.metadata.Distribution:
    return importlib.metadata.distribution(DISTRIBUTION)


def _information_folder() -> str:
    return f"{PACKAGE}-{_distribution().version}.dist-info"


def _recorded(path: str, content: bytes) -> str:
    """A line of RECORD, as the binary distribution format has it: path, hash, size."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}\n"


def _entry(path: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path, _EPOCH)
    entry.create_system = _UNIX
    entry.external_attr = _REGULAR_FILE
    return entry
