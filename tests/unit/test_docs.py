"""The manual matches the code: its command pages, its links, and every command line in it."""

import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from targcc_gen import __version__
from targcc_gen.cli import main
from targcc_gen.cli.reference import Command, commands, examples, generator_page, options
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec
from targcc_scheduler.db.migrations.upgrade import head_revision

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import references  # noqa: E402 - found by the line above

GENERATED = {references.FOLDER / f"{name}.md" for name in references.PAGES}
MANUAL = {*ROOT.glob("docs/**/*.md")} - GENERATED
PAGES = sorted([*ROOT.glob("*.md"), *MANUAL, *ROOT.glob("examples/**/*.md")])
SHIPPED = sorted(
    path
    for room in ("project", "scheduler/targcc_scheduler/docs")
    for path in (ROOT / "templates" / room).rglob("*")
    if ".md" in path.suffixes
)
OF_GENERATOR = list(commands(main, "targcc-gen"))


def name_of(value: object) -> str:
    if isinstance(value, Command):
        return value.path
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else ""


@cache
def project_page() -> str:
    return references.project_pages()[0]


@pytest.mark.parametrize("command", OF_GENERATOR, ids=name_of)
def test_each_command_says_what_it_does_and_shows_how(command: Command):
    assert command.command.help
    assert command.command.get_short_help_str(200).endswith(".")
    shown = examples(command)
    assert shown, "its help has no example"
    assert any(line.startswith(command.path) for line in shown), shown


@pytest.mark.parametrize("command", OF_GENERATOR, ids=name_of)
def test_each_option_says_what_it_does(command: Command):
    assert [written for option, written, _ in options(command) if not option.help] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_outputs_on_the_pages_name_the_newest_revision_of_the_tables(page: Path):
    shown = re.findall(r"(?:is at version|migrated to) (\d{4})", page.read_text(encoding="utf-8"))
    assert set(shown) <= {head_revision()}


def sections(page: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a command page, each with its text."""
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        yield title.strip("`"), text


@pytest.mark.usefixtures("processes")
def test_each_command_and_option_of_a_project_says_what_it_does_and_shows_how():
    silent = []
    for path, text in sections(project_page()):
        is_group = "COMMAND [ARGS]..." in text
        example = path.replace("targcc job cancel", "targcc run cancel")
        example = example.replace("targcc job retry", "targcc run retry")
        if not is_group and f"```console\n$ {example}" not in text:
            silent.append(f"{path}: no example")
        options = re.findall(r"^\| `(.+?)` \| (.*) \|$", text, re.MULTILINE)
        silent += [f"{path} {option}" for option, does in options if re.match(r"\[|$", does)]

    assert silent == []


@cache
def known_options() -> dict[str, set[str]]:
    """Return every command of both programs with its options."""
    known = {}
    for text in (generator_page(), project_page()):
        for path, about in sections(text):
            rows = re.findall(r"^\| `(-.+?)` \|", about, re.MULTILINE)
            known[path] = {word for row in rows for word in re.findall(r"--?[\w-]+", row)}
    return known


def command_lines(page: Path) -> Iterator[str]:
    """Yield the command lines of a page, with continued lines joined."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(("$ ", "> ")):
                yield line[2:]


def calls(line: str) -> Iterator[list[str]]:
    """Yield the calls of our two programs in a command line, as words."""
    for part in re.split(r"&&|\||\$\(|;", line):
        if "targcc" not in part:
            continue
        words = [
            word.removeprefix(".venv/bin/")
            for word in shlex.split(part.rstrip(") "), comments=True)
        ]
        for program in ("targcc-gen", "targcc"):
            if program in words and not {"tool", "--from", "-m", "nssm"} & set(
                words[: words.index(program)]
            ):
                yield words[words.index(program) :]
                break


def complaint(words: list[str], known: dict[str, set[str]]) -> str | None:
    """Return the error of a call according to the manual's command pages."""
    path, rest = words[0], words[1:]
    while rest[:1] and rest[0] in {"--server", "--token", "--ca", "--profile"}:
        rest = rest[2:]  # options of the server connection
    while rest and f"{path} {rest[0]}" in known:
        path, rest = f"{path} {rest[0]}", rest[1:]
    if path not in known:
        return (
            None if rest[:1] in ([], ["--help"], ["--version"], ["--debug"]) else "no such command"
        )
    given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    wrong = given - known[path] - {"--help"}
    return f"no such option: {', '.join(sorted(wrong))}" if wrong else None


@pytest.mark.usefixtures("processes")
def test_each_command_line_that_a_page_shows_is_one():
    known = known_options()
    wrong = [
        f"{page.relative_to(ROOT)}: {shlex.join(words)}: {complaint(words, known)}"
        for page in (*PAGES, *SHIPPED)
        for line in command_lines(page)
        for words in calls(line)
    ]

    assert [text for text in wrong if not text.endswith(": None")] == []


@pytest.mark.usefixtures("processes")
def test_each_command_and_setting_that_the_text_of_an_error_names_exists():
    known, settings = known_options(), {name for name, _, _ in references.settings()}
    others = {"LEGACY_PASSWORD", "GEN", "DEV_DATABASE_URL"}  # read before there are settings
    wrong = []
    for code, entry in references.error_codes().items():
        text = f"{entry.meaning} {entry.action}"
        lines = re.findall(r"`((?:targcc|targcc-gen) [^`]+)`", text)
        wrong += [
            f"{code}: {line}"
            for line in lines
            for words in calls(re.sub("NAME:|[|…]", "", line))
            if complaint(words, known)
        ]
        variables = set(re.findall(r"TARGCC_([A-Z_]+)", text)) - others
        wrong += [f"{code}: {name}" for name in variables if name.lower() not in settings]

    assert wrong == []


@pytest.mark.usefixtures("processes")
def test_what_containers_start_is_a_command():
    known = known_options()
    lists = [
        re.findall(r'"([^"]*)"', line)
        for name in ("compose.yaml.jinja", "Dockerfile.jinja")
        for line in (ROOT / "templates/project" / name).read_text(encoding="utf-8").splitlines()
        if '["targcc"' in line
    ]

    assert len(lists) == 4
    assert [complaint(words, known) for words in lists] == [None] * 4


def test_each_setting_is_explained_and_can_be_copied():
    example = (ROOT / "templates" / "project" / ".env.example.jinja").read_text(encoding="utf-8")
    settings = list(references.settings())

    assert len(settings) > 20
    assert [name for name, _, text in settings if not text] == []
    assert [name for name, _, _ in settings if f"#TARGCC_{name.upper()}=" not in example] == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_link_of_a_page_leads_somewhere(page: Path):
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    broken = []
    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if target in GENERATED:
            continue  # the manual's build checks its headings
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize(
    ("page", "said", "way"),
    [
        ("README.md", r"as a dependency \((\d+) files", "package"),
        ("README.md", r"to edit \(about (\d+)\)", "vendored"),
        ("docs/getting-started.md", r"acme-jobs: (\d+) files to create", "package"),
        ("docs/getting-started.md", r"some (\d+) files to read", "vendored"),
        ("docs/getting-started.md", r"vendor/targcc-scheduler/  \((\d+) files\)", "vendored"),
        ("docs/getting-started.md", r"one job has (\d+) files", "package"),
        ("docs/getting-started.md", r"package, about (\d+) with", "vendored"),
    ],
)
def test_pages_tell_about_how_many_files_a_project_has(page: str, said: str, way: str):
    spec = f"targcc: 1\nproject: {{name: acme-jobs}}\nscheduler: {way}\njobs: {{Heartbeat: {{every: 1m}}}}\n"
    count = sum(1 for _ in render_project(parse_spec(spec)))
    (stated_count,) = re.findall(said, (ROOT / page).read_text(encoding="utf-8"))

    assert 0.9 * count < int(stated_count) < 1.1 * count


def test_the_page_to_start_from_shows_this_release():
    page = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^targcc-gen (\d\S+)$", page, re.MULTILINE)) == {__version__}
    assert set(re.findall(r"targcc_scheduler-([\d.]+)\+h[0-9a-f]{10}-py3", page)) == {__version__}


def test_each_page_stands_in_the_contents_of_the_manual():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    contents = "\n".join(re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL))
    listed = re.findall(r"^(?:.*<)?([\w/-]+)>?$", contents, re.MULTILINE)
    pages = {str(page.relative_to(references.DOCS))[:-3] for page in MANUAL | GENERATED}

    assert len(listed) == len(set(listed))
    assert set(listed) == pages - {"index"}
