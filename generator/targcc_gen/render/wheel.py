"""Build the scheduler's wheel from the installed package, byte for byte equal on every machine.

The wheel equals the wheel of the release's own build, except for the builder's name and the version. The local part of the version
is a hash of the content: two builds differ by name, and no index can have a distribution of that version.
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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING

from targcc_gen.render.package import DISTRIBUTION, PACKAGE, package_files

if TYPE_CHECKING:
    from packaging.requirements import Requirement


# DEFLATE (RFC 1951) with the same output on every machine.
# zlib's output depends on the library behind a Python (zlib, zlib-ng, hardware), so zlib cannot make a file that is committed and
# compared by its bytes. Any decoder reads the output of this encoder.

FORM = 1
"""Version of the encoder's choice of matches and codes. Another choice gives other bytes."""

_SHORTEST, _LONGEST, _WINDOW = 5, 258, 32_767
_NOTED = 7  # number of positions recorded at the beginning of a match
_CHUNK = 12
_END = 256
_MOST_BITS, _MOST_META_BITS = 15, 7
_META_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_SHIFT = 16  # a match is its length and, in the lower 16 bits, its distance


def deflate(data: bytes) -> bytes:
    """Compress `data` into one block with dynamic Huffman codes."""
    tokens = [*_tokens(data), _END]
    lengths, distances = _lengths(), _distances()
    used, far = Counter[int](), Counter[int]()
    for token, count in Counter(tokens).items():
        if token <= _END:
            used[token] += count
        else:
            used[lengths[token >> _SHIFT][0]] += count
            far[distances[token & 0xFFFF][0]] += count
    sizes, far_sizes = _code_sizes(used, _MOST_BITS), _code_sizes(far, _MOST_BITS)
    codes, far_codes = _codes(sizes), _codes(far_sizes)
    written: dict[int, str] = {}
    for token in dict.fromkeys(tokens):
        if token <= _END:
            written[token] = codes[token]
        else:
            symbol, extra = lengths[token >> _SHIFT]
            distance, more = distances[token & 0xFFFF]
            written[token] = codes[symbol] + extra + far_codes[distance] + more
    head = "101" + _header(sizes, far_sizes)  # the last block, with dynamic codes
    bits = head + "".join([written[token] for token in tokens])
    return int(bits[::-1], 2).to_bytes((len(bits) + 7) // 8, "little")


def _tokens(data: bytes) -> list[int]:
    """Return the literals and matches of LZ77. A match repeats bytes from at most 32 kB before."""
    last: dict[bytes, int] = {}  # the last position of each prefix
    known, end, here = last.get, len(data), 0
    tokens: list[int] = []
    add = tokens.append
    while here < end:
        key = data[here : here + _SHORTEST]
        before = known(key, -1)
        last[key] = here
        if before < 0 or here - before > _WINDOW or here + _SHORTEST > end:
            add(key[0])
            here += 1
            continue
        length = _common(data, before, here, min(_LONGEST, end - here))
        add(length << _SHIFT | here - before)
        for place in (*range(here + 1, here + min(length, _NOTED)), here + length - 1):
            last[data[place : place + _SHORTEST]] = place
        here += length
    return tokens


def _common(data: bytes, before: int, here: int, most: int) -> int:
    """Return the length of the match between two positions, at most `most`."""
    length = _SHORTEST
    while length < most:
        chunk = data[here + length : here + length + _CHUNK]
        if chunk != data[before + length : before + length + len(chunk)]:
            while length < most and data[here + length] == data[before + length]:
                length += 1
            return length
        length += len(chunk)
    return most


@cache
def _lengths() -> list[tuple[int, str]]:
    """Return the symbol and the extra bits of each length."""
    table = [(0, "")] * (_LONGEST + 1)
    for symbol, length, bits in _values(28, 4, 3):
        if length < _LONGEST:
            table[length] = (_END + 1 + symbol, bits)
    table[_LONGEST] = (285, "")
    return table


@cache
def _distances() -> list[tuple[int, str]]:
    """Return the symbol and the extra bits of each distance."""
    return [(0, ""), *((symbol, bits) for symbol, _, bits in _values(30, 2, 1))]


def _values(symbols: int, group: int, first: int) -> Iterator[tuple[int, int, str]]:
    """Yield each value with its symbol and extra bits. The number of extra bits grows by one with each group of symbols."""
    value = first
    for symbol in range(symbols):
        count = max(0, symbol // group - 1)
        for offset in range(1 << count):
            yield symbol, value, _number(offset, count)
            value += 1


def _number(value: int, count: int) -> str:
    """Return a number as `count` bits, the lowest bit first."""
    return format(value, f"0{count}b")[::-1] if count else ""


def _code_sizes(counts: Mapping[int, int], most: int) -> dict[int, int]:
    """Return the length in bits of each symbol's Huffman code, at most `most`."""
    weights = dict(sorted(counts.items()))
    while True:
        sizes = _huffman(weights)
        if max(sizes.values(), default=0) <= most:
            return sizes
        weights = {symbol: (weight + 1) // 2 for symbol, weight in weights.items()}


def _huffman(weights: Mapping[int, int]) -> dict[int, int]:
    if len(weights) == 1:
        return dict.fromkeys(weights, 1)
    heap: list[tuple[int, int, tuple[int, ...]]] = [
        (weight, number, (symbol,)) for number, (symbol, weight) in enumerate(weights.items())
    ]
    sizes, number = dict.fromkeys(weights, 0), len(heap)
    heapify(heap)
    while len(heap) > 1:
        (weight, _, symbols), (other, _, more) = heappop(heap), heappop(heap)
        joined = symbols + more
        for symbol in joined:
            sizes[symbol] += 1
        heappush(heap, (weight + other, number, joined))
        number += 1
    return sizes


def _codes(sizes: Mapping[int, int]) -> dict[int, str]:
    """Return the canonical Huffman code of each symbol: by length, then by symbol."""
    codes, code, size = {}, 0, 0
    for symbol in sorted(sizes, key=lambda symbol: (sizes[symbol], symbol)):
        code <<= sizes[symbol] - size
        size = sizes[symbol]
        codes[symbol] = format(code, f"0{size}b")
        code += 1
    return codes


def _header(sizes: Mapping[int, int], far_sizes: Mapping[int, int]) -> str:
    """Return the header of a block: the code lengths of both codes."""
    literals, far = max(sizes) + 1, max(far_sizes, default=0) + 1
    all_sizes = [*(sizes.get(symbol, 0) for symbol in range(literals))]
    all_sizes += [far_sizes.get(symbol, 0) for symbol in range(far)]
    runs = [*_runs(all_sizes)]
    meta = _code_sizes(Counter(symbol for symbol, _, _ in runs), _MOST_META_BITS)
    codes = _codes(meta)
    order = [meta.get(symbol, 0) for symbol in _META_ORDER]
    while len(order) > 4 and not order[-1]:  # noqa: PLR2004 - at least four are written
        order.pop()
    head = _number(literals - 257, 5) + _number(far - 1, 5) + _number(len(order) - 4, 4)
    head += "".join(_number(size, 3) for size in order)
    return head + "".join(codes[symbol] + _number(more, count) for symbol, more, count in runs)


def _runs(sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Run-length encode the code lengths.

    Yields:
        A symbol, a number, and the count of bits of the number.
    """
    place = 0
    while place < len(sizes):
        size, count = sizes[place], 1
        while place + count < len(sizes) and sizes[place + count] == size:
            count += 1
        place += count
        if size:
            yield size, 0, 0
            count -= 1
        while count:
            if size and count >= 3:  # noqa: PLR2004 - the shortest repetition
                part = min(count, 6)
                yield 16, part - 3, 2
            elif not size and count >= 11:  # noqa: PLR2004 - the shortest long one
                part = min(count, 138)
                yield 18, part - 11, 7
            elif not size and count >= 3:  # noqa: PLR2004 - the shortest repetition
                part = min(count, 10)
                yield 17, part - 3, 3
            else:
                part = 1
                yield size, 0, 0
            count -= part


# The wheel.

FOLDER = "vendor"
"""The project's folder for the wheel."""

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
    """Return the wheel's version: `0.2.0+h3f9a01c2de`. The letter keeps the local part from being read as a number."""
    sha256 = hashlib.sha256(f"{FORM}\n".encode())
    for path, content in (*package_files(), *_information(_release())):
        name = path.encode()
        sha256.update(b"%d %d\n" % (len(name), len(content)) + name + content)
    return f"{_release()}+h{sha256.hexdigest()[:_LOCAL_DIGITS]}"


def wheel_name() -> str:
    """Return the wheel's file name, with the version."""
    return f"{PACKAGE}-{wheel_version()}-py3-none-any.whl"


def wheel_path() -> str:
    """Return the wheel's place in a project: POSIX path below the project's folder."""
    return f"{FOLDER}/{wheel_name()}"


def version_of(path: str) -> str | None:
    """Return the version in the path of a carried wheel; None for any other file."""
    folder, _, name = path.rpartition("/")
    match = _NAME.fullmatch(name)
    return match["version"] if match and folder == FOLDER else None


def meets(requirement: Requirement, version: str) -> bool:
    """Return whether a version meets a requirement. A version without a local part comes from a checkout and meets the requirement of any build."""
    from packaging.specifiers import SpecifierSet

    if requirement.specifier.contains(version, prereleases=True):
        return True
    plain = SpecifierSet(re.sub(r"\+[a-z0-9.]+", "", str(requirement.specifier)))
    return "+" not in version and plain.contains(version, prereleases=True)


@cache
def wheel() -> bytes:
    """Return the wheel. A build takes a second, so the bytes are kept in the user's cache folder."""
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
    """Return the metadata files of the distribution, without RECORD."""
    installed = importlib.metadata.distribution(DISTRIBUTION)
    texts = {name: installed.read_text(name) for name in ("METADATA", "entry_points.txt")}
    texts["WHEEL"] = _WHEEL
    texts["METADATA"] = _VERSION.sub(f"Version: {version}", texts["METADATA"] or "", count=1)
    for name in installed.metadata.get_all("License-File", []):
        texts[f"licenses/{name}"] = installed.read_text(f"licenses/{name}")
    pairs = [(name, text) for name, text in sorted(texts.items()) if text is not None]
    return [(name, text.replace("\r\n", "\n").encode()) for name, text in pairs]


def _release() -> str:
    return importlib.metadata.version(DISTRIBUTION).partition("+")[0]


def _information_folder() -> str:
    return f"{PACKAGE}-{wheel_version()}.dist-info"


def _recorded(path: str, content: bytes) -> str:
    """Return a line of RECORD, as the binary distribution format defines: path, hash, size."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}\n"


def _archive(files: list[tuple[str, bytes]]) -> bytes:
    """Return a ZIP archive. `zipfile` would compress with zlib, whose output differs between machines."""
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
    """Return the cached wheel if the file is intact: it begins with the checksum of the rest."""
    try:
        data = _cache_file().read_bytes()
    except (OSError, RuntimeError):
        return None
    digest, made = data[:32], data[32:]
    return made if hashlib.sha256(made).digest() == digest else None


def _keep(made: bytes) -> None:
    """Write the wheel to the cache. If that fails, the next call builds the wheel again."""
    with contextlib.suppress(OSError, RuntimeError):
        file = _cache_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = sorted(file.parent.glob(f"{PACKAGE}-*.whl"), key=lambda path: path.stat().st_mtime)
        for older in kept[:-_MOST_KEPT]:
            older.unlink(missing_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as draft:
            draft.write(hashlib.sha256(made).digest() + made)
        Path(draft.name).replace(file)
