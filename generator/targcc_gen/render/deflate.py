"""DEFLATE (RFC 1951) with the same output on every machine.

zlib's output depends on the library that a Python was built with (zlib, zlib-ng, hardware), so it cannot make a file that is
committed and compared by its bytes. Any decoder reads what is made here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from heapq import heapify, heappop, heappush

FORM = 1
"""The number of this way to choose matches and codes: another one gives other bytes."""

_SHORTEST, _LONGEST, _WINDOW = 5, 258, 32_767
_NOTED = 7  # so many places at the beginning of a match are looked up later
_CHUNK = 12
_END = 256
_MOST_BITS, _MOST_META_BITS = 15, 7
_META_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_SHIFT = 16  # a match is its length and, in the lower bits, its distance


def deflate(data: bytes) -> bytes:
    """Compress `data` into one block with Huffman codes of its own."""
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
    head = "101" + _header(sizes, far_sizes)  # the last block, with codes of its own
    bits = head + "".join([written[token] for token in tokens])
    return int(bits[::-1], 2).to_bytes((len(bits) + 7) // 8, "little")


def _tokens(data: bytes) -> list[int]:
    """The bytes and the matches, a match being what an earlier place of at most 32 kB before has too."""
    last: dict[bytes, int] = {}  # where some first bytes stood last
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
    """How many bytes two places have in common; as many as are looked up are."""
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
    """The symbol and the further bits of each length."""
    table = [(0, "")] * (_LONGEST + 1)
    for symbol, length, bits in _values(28, 4, 3):
        if length < _LONGEST:
            table[length] = (_END + 1 + symbol, bits)
    table[_LONGEST] = (285, "")
    return table


@cache
def _distances() -> list[tuple[int, str]]:
    """The symbol and the further bits of each distance."""
    return [(0, ""), *((symbol, bits) for symbol, _, bits in _values(30, 2, 1))]


def _values(symbols: int, group: int, first: int) -> Iterator[tuple[int, int, str]]:
    """Each value with its symbol and its further bits: the number of these grows by one with each group of symbols."""
    value = first
    for symbol in range(symbols):
        count = max(0, symbol // group - 1)
        for offset in range(1 << count):
            yield symbol, value, _number(offset, count)
            value += 1


def _number(value: int, count: int) -> str:
    """A number of some bits, the lowest first."""
    return format(value, f"0{count}b")[::-1] if count else ""


def _code_sizes(counts: Mapping[int, int], most: int) -> dict[int, int]:
    """The number of bits of each symbol's Huffman code, `most` at most."""
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
    """The code of each symbol, by the order that decoders expect: shorter ones first, then by symbol."""
    codes, code, size = {}, 0, 0
    for symbol in sorted(sizes, key=lambda symbol: (sizes[symbol], symbol)):
        code <<= sizes[symbol] - size
        size = sizes[symbol]
        codes[symbol] = format(code, f"0{size}b")
        code += 1
    return codes


def _header(sizes: Mapping[int, int], far_sizes: Mapping[int, int]) -> str:
    """The sizes of both sets of codes, as a block begins with them."""
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
    """Sizes with their repetitions shortened: a symbol, a number and how many bits that has."""
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
