"""Let the images of an app have the scheduler's wheel: a Dockerfile that copies the requirements copies `vendor/` too."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

FOLDER = "vendor"
_MOUNT = re.compile(r"--mount=\S*\bsource=(?P<source>[^,\s]+)\S*\btarget=(?P<target>[^,\s]+)\S*")
_SKIPPED = frozenset({"node_modules", "venv", "env"})


@dataclass(frozen=True)
class _Copy:
    """A COPY or ADD of files of the project.

    Args:
        sources: The sources, without `./` and a last `/`.
        target: The target as written.
        flags: `--chown` and `--chmod`.
    """

    sources: tuple[str, ...]
    target: str
    flags: str

    @property
    def is_whole(self) -> bool:
        """Whether the whole project, or `vendor/`, is copied."""
        return any(
            source in {"", ".", FOLDER} or source.endswith(f"/{FOLDER}") for source in self.sources
        )

    @property
    def folder(self) -> str:
        """The target as a folder, with a last `/`."""
        if self.target in {".", "./"}:
            return "./"
        return f"{self.target.rstrip('/')}/"

    def folder_of(self, source: str) -> str:
        """Return the folder that the source's file gets into."""
        name = source.rpartition("/")[2]
        is_file = self.target.rpartition("/")[2] == name and len(self.sources) == 1
        return f"{posixpath.dirname(self.target) or '.'}/" if is_file else self.folder


def find_dockerfiles(root: Path) -> Iterator[Path]:
    """Yield the Dockerfiles of a project, at most one folder deep."""
    for path in sorted([*root.glob("*"), *root.glob("*/*")]):
        name = path.name.lower()
        is_dockerfile = "dockerfile" in name or name.startswith("containerfile")
        below = path.relative_to(root).parts[0]
        if is_dockerfile and path.is_file() and not below.startswith(".") and below not in _SKIPPED:
            yield path


def with_folders(
    text: str, manifest: str, beside: Sequence[tuple[str, str]] = (), inside: str = ""
) -> str:
    """Return a Dockerfile with `vendor/` copied or mounted wherever the manifest is, before the packages are installed.

    Args:
        text: The Dockerfile, with `\\n` line ends.
        manifest: The file with the requirements, below the project's folder.
        beside: Pairs of a folder and a new folder beside, which is copied wherever the first is.
        inside: The project's folder in the repository, such as `backend`; the Dockerfile may copy from the repository.
    """
    lines = text.splitlines(keepends=True)
    if inside and not _copies_from(lines, inside):
        inside = ""
    added: list[tuple[int, str]] = []
    whole = False
    for first, last, statement in _statements(lines):
        word, _, rest = statement.strip().partition(" ")
        if word.upper() == "FROM":
            whole = False
        elif word.upper() in {"COPY", "ADD"} and (copy := _copy(rest)) is not None:
            whole = whole or copy.is_whole
            new = (
                []
                if whole or _is_whole_next(lines, last)
                else [*_lines(copy, manifest, beside, inside)]
            )
            added += [(last, f"{word} {line}\n") for line in new]
        elif word.upper() == "RUN" and not whole and f"{FOLDER},target=" not in rest:
            for number in range(first, last + 1):
                lines[number] = _mounted(lines[number], manifest, inside)
    for number, line in reversed(added):
        ends = lines[number].endswith("\n")
        lines[number] += "" if ends else "\n"
        lines.insert(number + 1, line if ends else line.removesuffix("\n"))
    return "".join(lines)


def without_folders(text: str, folders: Sequence[str] = (FOLDER,)) -> str:
    """Return a Dockerfile without the lines and mounts of `with_folders`.

    Args:
        text: The Dockerfile, with `\\n` line ends.
        folders: The copied folders.
    """
    names = "|".join(map(re.escape, folders))
    copied = re.compile(rf"(?i)^(?:COPY|ADD) (?:--\S+ )*(?:\S*/)?(?:{names})/ \S*(?:{names})/\n?\Z")
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not copied.match(line)]
    if kept and not text.endswith("\n"):
        kept[-1] = kept[-1].removesuffix("\n")
    rest = "".join(kept)
    mount = rf"--mount=type=bind,source=\S*\b{FOLDER},target=\S*\b{FOLDER}"
    rest = re.sub(rf"(?m)^[ \t]*{mount}[ \t]*\\\n", "", rest)
    return re.sub(rf" {mount}(?=\s)", "", rest)


def lacks_folder(text: str, manifest: str) -> bool:
    """Return whether a Dockerfile names the manifest, and neither `vendor` nor the whole project."""
    name = manifest.rpartition("/")[2]
    words = re.findall(r"(?im)^\s*(?:COPY|ADD)\s+(?!--from)(?:--\S+\s+)*(\S+)", text)
    return name in text and FOLDER not in text and not {".", "./"} & {*words}


def _statements(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield the first line, the last line and the text of each statement."""
    kept, first = "", 0
    for number, line in enumerate(lines):
        plain = line.strip()
        if not kept and (not plain or plain.startswith("#")):
            continue
        first = first if kept else number
        if plain.endswith("\\"):
            kept += plain.removesuffix("\\") + " "
        elif plain and not (kept and plain.startswith("#")):
            yield first, number, kept + plain
            kept = ""


def _copy(rest: str) -> _Copy | None:
    """Parse the words of a COPY; None for files of another image."""
    try:
        words = shlex.split(rest)
        flags = [word for word in words if word.startswith("--")]
        words = json.loads(rest[rest.index("[") :]) if "[" in rest else words[len(flags) :]
    except ValueError:
        return None
    if len(words) < 2 or any(flag.startswith("--from") for flag in flags):  # noqa: PLR2004
        return None
    sources = tuple(str(word).removeprefix("./").rstrip("/") for word in words[:-1])
    kept = [flag for flag in flags if flag.startswith(("--chown", "--chmod"))]
    return _Copy(sources, str(words[-1]), "".join(f"{flag} " for flag in kept))


def _copies_from(lines: Sequence[str], folder: str) -> bool:
    """Return whether a COPY, ADD or mount names a path in a folder."""
    sources = [match["source"] for line in lines for match in _MOUNT.finditer(line)]
    for _, _, statement in _statements(lines):
        word, _, rest = statement.strip().partition(" ")
        copy = _copy(rest) if word.upper() in {"COPY", "ADD"} else None
        sources += copy.sources if copy else ()
    return any(f"{source.removeprefix('./')}/".startswith(f"{folder}/") for source in sources)


def _is_whole_next(lines: Sequence[str], last: int) -> bool:
    """Return whether the whole project is copied before the next RUN."""
    for _, _, statement in _statements(lines[last + 1 :]):
        word, _, rest = statement.strip().partition(" ")
        if word.upper() in {"RUN", "FROM"}:
            return False
        copy = _copy(rest) if word.upper() in {"COPY", "ADD"} else None
        if copy and copy.is_whole:
            return True
    return False


def _lines(
    copy: _Copy, manifest: str, beside: Sequence[tuple[str, str]], inside: str
) -> Iterator[str]:
    """Yield the words of the further COPY statements."""
    for source in copy.sources:
        if (prefix := _prefix(source, manifest)) is not None:
            # pip reads a path among the requirements from its working folder
            by_pip = manifest.endswith((".txt", ".in"))
            folder = "./" if by_pip else copy.folder_of(source)
            below = f"{inside}/" if inside and not prefix else ""  # the file of a workspace
            yield f"{copy.flags}{prefix}{below}{FOLDER}/ {folder}{below}{FOLDER}/"
            break
    for known, new in beside:
        for source in copy.sources:
            if source == known or source.endswith(f"/{known}"):
                prefix = source.removesuffix(known)
                folder = copy.folder_of(source) if "." in known or len(copy.sources) > 1 else ""
                folder = folder or f"{posixpath.dirname(copy.folder.rstrip('/')) or '.'}/"
                name = new.rpartition("/")[2]
                yield f"{copy.flags}{prefix}{new}/ {folder.replace('//', '/')}{name}/"


def _prefix(source: str, manifest: str) -> str | None:
    """Return the project's folder in a source of the manifest; None for another source."""
    name = manifest.rpartition("/")[2]
    if source == manifest or source.endswith(f"/{manifest}"):
        return source.removesuffix(manifest)
    if "/" in manifest and source == manifest.rpartition("/")[0]:
        return ""
    place, slash, last = source.rpartition("/")
    if "*" in last and fnmatch(name, last) and "/" not in manifest:
        return f"{place}{slash}"
    return None


def _mounted(line: str, manifest: str, inside: str) -> str:
    """Return a line of RUN with a mount of `vendor` beside the mount of the manifest."""
    for match in _MOUNT.finditer(line):
        prefix = _prefix(match["source"].removeprefix("./"), manifest)
        if prefix is None:
            continue
        below = f"{inside}/{FOLDER}" if inside and not prefix else FOLDER
        target = posixpath.join(posixpath.dirname(match["target"]), below)
        mount = f"--mount=type=bind,source={prefix}{below},target={target}"
        if line.strip() == f"{match[0]} \\":
            indent = line[: len(line) - len(line.lstrip())]
            return f"{line}{indent}{mount} \\\n"
        return line.replace(match[0], f"{match[0]} {mount}")
    return line
