"""The wheel of the scheduler, made from the installed package, for a project that depends on it.

It holds what the release's own build makes of the same files, but for the line that names the builder and the version: its local
part is made of the content, so that two builds differ by name, and no index can have a distribution of that version. The bytes
are the same on any machine.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.metadata
import os
import re
import struct
import sys
import tempfile
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from targcc_gen.render.deflate import FORM, deflate
from targcc_gen.render.package import DISTRIBUTION, PACKAGE, package_files

if TYPE_CHECKING:
    from packaging.requirements import Requirement

FOLDER = "vendor"
"""Where a project keeps it."""

_DATE = (0 << 9) | (1 << 5) | 1  # 1 January 1980
_REGULAR_FILE = 0o100644 << 16
_UNIX = 3
_STORED, _DEFLATED = 0, 8
_NEEDED = 20
_LOCAL_DIGITS = 10
_MOST_KEPT = 4
_WHEEL = """\
Wheel-Version: 1.0
Generator: targcc-gen
Root-Is-Purelib: true
Tag: py3-none-any
"""
_VERSION = re.compile(r"^Version: .*$", re.MULTILINE)
_NAME = re.compile(rf"{PACKAGE}-(?P<version>[^-]+)-py3-none-any\.whl")


@cache
def wheel_version() -> str:
    """Its version: `0.2.0+h3f9a01c2de`. The letter keeps the local part from being read as a number."""
    sha256 = hashlib.sha256(f"{FORM}\n".encode())
    for path, content in (*package_files(), *_information(_release())):
        name = path.encode()
        sha256.update(b"%d %d\n" % (len(name), len(content)) + name + content)
    return f"{_release()}+h{sha256.hexdigest()[:_LOCAL_DIGITS]}"


def wheel_name() -> str:
    """The file's name, which holds the version."""
    return f"{PACKAGE}-{wheel_version()}-py3-none-any.whl"


def wheel_path() -> str:
    """Where it is in a project: POSIX path below the project's folder."""
    return f"{FOLDER}/{wheel_name()}"


def version_of(path: str) -> str | None:
    """The version in the path of a carried wheel; None for any other file."""
    folder, _, name = path.rpartition("/")
    match = _NAME.fullmatch(name)
    return match["version"] if match and folder == FOLDER else None


def meets(requirement: Requirement, version: str) -> bool:
    """Whether a version meets a requirement; one without a local part is from a checkout, and meets that of any build."""
    from packaging.specifiers import SpecifierSet

    if requirement.specifier.contains(version, prereleases=True):
        return True
    plain = SpecifierSet(re.sub(r"\+[a-z0-9.]+", "", str(requirement.specifier)))
    return "+" not in version and plain.contains(version, prereleases=True)


@cache
def wheel() -> bytes:
    """The wheel; it takes a second to make, and is kept for the next call in the user's cache folder."""
    kept = _kept()
    if kept is not None:
        return kept
    made = _made()
    _keep(made)
    return made


def _made() -> bytes:
    about = _information_folder()
    files = [(f"{PACKAGE}/{path}", content) for path, content in package_files()]
    files += [(f"{about}/{path}", content) for path, content in _information(wheel_version())]
    lines = [_recorded(path, content) for path, content in files]
    record = f"{about}/RECORD"
    files.append((record, "".join([*lines, f"{record},,\n"]).encode()))
    return _archive(files)


def _information(version: str) -> list[tuple[str, bytes]]:
    """The files that describe the distribution, without the list of all."""
    installed = importlib.metadata.distribution(DISTRIBUTION)
    texts = {name: installed.read_text(name) for name in ("METADATA", "entry_points.txt")}
    texts["WHEEL"] = _WHEEL
    texts["METADATA"] = _VERSION.sub(f"Version: {version}", texts["METADATA"] or "", count=1)
    for name in installed.metadata.get_all("License-File", []):
        texts[f"licenses/{name}"] = installed.read_text(f"licenses/{name}")
    told = [(name, text) for name, text in sorted(texts.items()) if text is not None]
    return [(name, text.replace("\r\n", "\n").encode()) for name, text in told]


def _release() -> str:
    return importlib.metadata.version(DISTRIBUTION).partition("+")[0]


def _information_folder() -> str:
    return f"{PACKAGE}-{wheel_version()}.dist-info"


def _recorded(path: str, content: bytes) -> str:
    """A line of RECORD, as the binary distribution format has it: path, hash, size."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}\n"


def _archive(files: list[tuple[str, bytes]]) -> bytes:
    """A ZIP archive; `zipfile` would compress by zlib, whose output differs from machine to machine."""
    body, directory = bytearray(), bytearray()
    for path, content in files:
        packed, method = deflate(content) if content else b"", _DEFLATED
        if len(packed) >= len(content):
            packed, method = content, _STORED
        name = path.encode("ascii")
        sizes = (zlib.crc32(content), len(packed), len(content), len(name), 0)
        shared = struct.pack("<HHHHHIIIHH", _NEEDED, 0, method, 0, _DATE, *sizes)
        central = (b"PK\x01\x02", _UNIX << 8 | _NEEDED, shared, 0, 0, 0, _REGULAR_FILE, len(body))
        directory += struct.pack("<4sH26sHHHII", *central) + name
        body += b"PK\x03\x04" + shared + name + packed
    count = len(files)
    ending = (0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + struct.pack("<4sHHHHIIH", b"PK\x05\x06", *ending))


def _cache_file() -> Path:
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "targcc-gen" / wheel_name()


def _kept() -> bytes | None:
    """What an earlier call has made, if it is whole: the file begins with the checksum of the rest."""
    try:
        data = _cache_file().read_bytes()
    except (OSError, RuntimeError):
        return None
    digest, made = data[:32], data[32:]
    return made if hashlib.sha256(made).digest() == digest else None


def _keep(made: bytes) -> None:
    """Keep it; where that cannot be, the next call makes it again."""
    with contextlib.suppress(OSError, RuntimeError):
        file = _cache_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = sorted(file.parent.glob(f"{PACKAGE}-*.whl"), key=lambda path: path.stat().st_mtime)
        for older in kept[:-_MOST_KEPT]:
            older.unlink(missing_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as draft:
            draft.write(hashlib.sha256(made).digest() + made)
        Path(draft.name).replace(file)
