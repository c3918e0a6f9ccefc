"""Codes of errors: each error that a user can meet has a code, each code has a text, and no code changes its meaning."""

import ast
import importlib
import pkgutil
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen import cli as generator_cli
from targcc_gen.errors import InputError, TargccError
from targcc_gen.spec.errors import Problem, SpecErrors
from targcc_scheduler.cli.group import CliError, UnreachableError
from targcc_scheduler.cli.main import main
from targcc_scheduler.core import error_codes, errors
from targcc_scheduler.web.api import common
from targcc_scheduler.web.problems import CODES

pytestmark = pytest.mark.slow  # its tests parse every module

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import references  # noqa: E402 - a script of the manual

GENERATOR = ROOT / "generator" / "targcc_gen"
SCHEDULER = ROOT / "templates" / "scheduler" / "targcc_scheduler"
REGISTRY = tomllib.loads((ROOT / "tests/data/error_codes.toml").read_text(encoding="utf-8"))
CODE = re.compile(r"T[GS]\d{3}")
LOOKED_AT = re.compile(rf"{CODE.pattern}|\b(TargccError|InputError|CliError|Problem)\(")
SIGNALS = {
    "JobCancelled",
    "LeaseLost",
    "NodeUnknown",
    "NodeStuck",
    "NodeSilent",
    "RunTaken",
    "CredentialsRefused",
}
"""Exceptions between parts of the scheduler and a job; no command, page or answer shows them."""


@pytest.fixture(autouse=True)
def no_manual_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(error_codes.VARIABLE, raising=False)


@cache
def nodes() -> list[tuple[Path, ast.AST]]:
    """Return the syntax nodes of both programs that the tests look at, each with its file."""
    return [
        (file, node)
        for root in (GENERATOR, SCHEDULER)
        for file in root.rglob("*.py")
        if LOOKED_AT.search(text := file.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call | ast.ClassDef | ast.Constant)
    ]


def calls(names: set[str]) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls of functions or classes by name, each with its place."""
    for file, node in nodes():
        if isinstance(node, ast.Call) and name_of(node.func) in names:
            yield f"{file.relative_to(ROOT).as_posix()}:{node.lineno}", node


def name_of(function: ast.expr) -> str:
    """Return the last part of a called name; empty for any other call."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def subclasses(kind: type) -> Iterator[type]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def import_generator() -> None:
    package = importlib.import_module("targcc_gen")
    for module in pkgutil.walk_packages(package.__path__, "targcc_gen."):
        importlib.import_module(module.name)


def test_each_error_of_the_generator_has_a_code():
    import_generator()
    without = [kind.__name__ for kind in subclasses(TargccError) if not kind.code]

    assert without == [InputError.__name__, SpecErrors.__name__]  # the errors of a spec have codes


def test_no_error_without_a_code_is_raised():
    general = [place for place, _ in calls({"TargccError", "InputError"})]
    commands = [
        place
        for place, node in calls({"CliError"})
        if "code" not in {keyword.arg for keyword in node.keywords}
    ]

    assert (general, commands) == ([], []), "raise a class with a code: see targcc_gen/errors.py"


def test_each_exception_of_the_scheduler_has_a_code_or_is_a_signal():
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception) and not name.startswith("_")
    }
    without = {name for name, kind in kinds.items() if "code" not in vars(kind)}

    assert without == SIGNALS


def test_each_error_of_a_command_has_a_code():
    assert [kind.__name__ for kind in subclasses(CliError) if "code" not in vars(kind)] == []


def test_no_two_classes_have_the_same_code():
    codes = Counter(
        statement.value.value
        for _, node in nodes()
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.Assign)
        and ast.unparse(statement.targets[0]) == "code"
        and isinstance(statement.value, ast.Constant)
        and CODE.fullmatch(str(statement.value.value))
    )

    assert [code for code, times in codes.items() if times > 1] == []
    assert len(codes) > 90


def test_each_kind_of_problem_has_a_code():
    titles = [title for _, title in common._PROBLEM_OF.values()]
    kinds = {"-".join(re.findall("[a-z]+", title.lower())) for title in titles}
    for place, node in calls({"Problem"}):
        if place.startswith("templates") and "/flows/graph.py" not in place and len(node.args) > 1:
            status, title = node.args[:2]
            named = [word.value for word in node.keywords if word.arg == "kind"]
            if named:
                kinds.add(ast.literal_eval(named[0]))
            elif isinstance(title, ast.Constant) and isinstance(status, ast.Constant | ast.Name):
                kinds.add("-".join(re.findall("[a-z]+", str(title.value).lower())))

    assert len(kinds) > 40
    assert kinds - set(CODES) == set()


def test_each_code_of_the_source_has_a_text_and_each_text_a_code():
    literals = {
        node.value
        for _, node in nodes()
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and CODE.fullmatch(node.value)
    }

    assert literals == set(references.error_codes())


def test_each_text_says_what_happened_and_what_to_do():
    for code, entry in references.error_codes().items():
        assert CODE.fullmatch(code)
        assert all((entry.title, entry.meaning, entry.example, entry.action)), code
        assert entry.meaning.endswith("."), code
        assert entry.action.endswith((".", "`", "lines:")), code
        assert set(re.findall(r"error\[(.*?)\]", entry.example)) <= {code}, code


def test_a_code_keeps_its_meaning_and_never_vanishes():
    given, retired = REGISTRY["codes"], REGISTRY["retired"]
    titles = {code: entry.title for code, entry in references.error_codes().items()}

    assert (
        given == titles
    ), "a new code goes into tests/data/error_codes.toml; an old one is retired"
    assert set(retired) & set(given) == set()


def test_the_manual_has_an_anchor_for_each_code():
    page = references.errors_page()

    assert set(re.findall(r"^### (T[GS]\d{3})$", page, re.MULTILINE)) == set(
        references.error_codes()
    )


@pytest.mark.parametrize("program", [main, generator_cli.main], ids=["targcc", "targcc-gen"])
def test_explain_prints_what_the_manual_says(program):
    result = CliRunner().invoke(program, ["explain", "TS102"])

    assert result.exit_code == 0
    assert result.stdout.startswith("TS102: No such job\n")
    assert "What to do: `targcc job list`" in result.stdout
    assert result.stdout.endswith("In the manual: reference/errors.html#ts102\n")


def test_the_generator_explains_its_own_codes_in_any_case():
    result = CliRunner().invoke(generator_cli.main, ["explain", "tg201", "TG305"])

    assert [line for line in result.stdout.splitlines() if CODE.match(line)] == [
        "TG201: No project here",
        "TG305: The schedule cannot be read",
    ]


@pytest.mark.parametrize(
    ("program", "wrong", "right"),
    [(main, "TS1O2", "TS102"), (generator_cli.main, "TG2011", "TG201")],
    ids=["targcc", "targcc-gen"],
)
def test_an_unknown_code_is_refused_with_the_nearest(program, wrong, right):
    result = CliRunner().invoke(program, ["explain", wrong])

    assert result.exit_code == 2
    assert f"did you mean {right}?" in result.stderr


@pytest.mark.parametrize("program", [main, generator_cli.main], ids=["targcc", "targcc-gen"])
def test_explain_without_a_code_lists_all(program):
    result = CliRunner().invoke(program, ["explain"])

    assert "TS201  No such run\n" in result.stdout


def test_an_error_ends_with_the_address_of_a_company_s_manual(monkeypatch, capsys):
    monkeypatch.setenv(error_codes.VARIABLE, "https://docs.example.com/targcc/")
    UnreachableError("https://jobs.example.com does not answer in time").show()

    assert capsys.readouterr().err == (
        "error[TS901]: https://jobs.example.com does not answer in time\n"
        "  https://docs.example.com/targcc/reference/errors.html#ts901\n"
    )


def test_a_report_of_a_spec_names_each_code_once(capsys):
    problems = [
        Problem(number, 0, 1, "unknown key", code=code)
        for number, code in enumerate(("TG102", "TG104", "TG102"))
    ]
    generator_cli.show_error(SpecErrors("targcc.yaml", "a: 1\nb: 2\nc: 3\n", problems))

    printed = capsys.readouterr().err
    assert printed.startswith("targcc.yaml:1:1: error[TG102]: unknown key\n")
    assert printed.endswith("3 errors, nothing was written.\n  targcc-gen explain TG102 TG104\n")
