"""Sentences with "never", "always" and "exactly once" in texts for people.

    uv run python tests/strong_words.py

prints each sentence with its places.
"""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STRONG = re.compile(r"\b(never|always|exactly[\s-]+once)\b", re.IGNORECASE)
_PACKAGES = ("generator/targcc_gen", "templates/scheduler/targcc_scheduler")
_COMMENTED = ("examples/**/*.yaml", "templates/project/.env.example", "templates/project/*.jinja")
_RENDERED = ("templates/project/src/**/*", "templates/project/tests/**/*", "blueprints/**/*")


def sentences() -> dict[str, list[str]]:
    """Return each sentence with a strong word, and its files."""
    files_by_sentence: defaultdict[str, list[str]] = defaultdict(list)
    for path, text in _texts():
        for sentence in strong_sentences(text):
            files_by_sentence[sentence].append(path.relative_to(ROOT).as_posix())
    return dict(files_by_sentence)


def strong_sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a Markdown text with a strong word outside of code."""
    for block in _blocks(text):
        for sentence in re.split(r"(?<=[.!?])[*_)]*\s+(?=[^a-z])", " ".join(block.split())):
            if STRONG.search(re.sub(r"`+[^`]+`+", "", sentence)):
                yield sentence.strip()


def _blocks(text: str) -> Iterator[str]:
    """Yield paragraphs, list items, table cells, and arguments of a docstring."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[*#|-]|\d+\.|\w+:)\s)", text):
        bare = re.sub(r"^\s*(?:[*#-]+|\d+\.)\s+", "", block)
        yield from bare.split("|") if bare.lstrip().startswith("|") else [bare]


def _texts() -> Iterator[tuple[Path, str]]:
    for path in _pages():
        yield path, path.read_text(encoding="utf-8")
    for path in chain.from_iterable(ROOT.glob(pattern) for pattern in _COMMENTED):
        if ".md" not in path.suffixes:
            text = path.read_text(encoding="utf-8")
            yield path, "\n\n".join(re.findall(r"(?:^|\s)#\s?(.*)", text))
    for path in chain.from_iterable(ROOT.glob(pattern) for pattern in _RENDERED):
        if path.suffix in {".py", ".jinja"}:
            yield path, path.read_text(encoding="utf-8").replace("\n", "\n\n")
    for path in _modules():
        source = path.read_text(encoding="utf-8")
        if STRONG.search(source):
            for text in chain(_strings(source), _comments(source)):
                yield path, text


def _pages() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield from ROOT.glob("docs/*.md")  # generated from texts that are read at their source
    yield from ROOT.glob("examples/**/*.md")
    yield from (ROOT / "templates/project").glob("README*")
    scheduler = ROOT / "templates" / "scheduler"
    for pattern in ("*.md", "**/docs/*.md", "**/dashboard/**/*.html", "**/dashboard/**/*.js"):
        yield from scheduler.glob(pattern)


def _modules() -> Iterator[Path]:
    for package in _PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def _strings(source: str) -> Iterator[str]:
    """Yield docstrings, messages and other texts of more than a word."""
    tree, parts = ast.parse(source), set[ast.AST]()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts.update(node.values)
            yield "".join(_constant(part) or "{}" for part in node.values)
        elif node not in parts and " " in (text := _constant(node)):
            yield text


def _constant(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _comments(source: str) -> Iterator[str]:
    """Yield comments; adjacent lines are joined."""
    block, last = "", -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1 and block:
                yield block
                block = ""
            block, last = f"{block} {token.string.lstrip('# ')}", token.start[0]
    yield block


if __name__ == "__main__":
    for number, (said, places) in enumerate(sorted(sentences().items()), 1):
        print(f"{number:3} {said}\n    {', '.join(sorted(set(places)))}")  # noqa: T201
