"""Pytest plugin: `--touched` runs the test files that depend on changed files.

Changed are files of the working tree, committed or not, that differ from the commit where the branch left `main` (`--base`). A test file depends on

* modules that it imports, directly or through others, in functions too,
* modules of the fixtures that it asks for by name, and of the fixtures that these ask for,
* every module of a package if it starts processes, or imports what loads features by name: no import shows what runs then.

A changed `conftest.py` selects all tests of its folder; another file of `tests` selects the tests of its folder. A template or catalogue of a package
counts as a change of the modules in its folder, and a template of rendered projects as a change of the module that finds it. A file of another kind
selects each test that names the file or a folder above the file.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from import_graph import imports_in

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("generator/targcc_gen", "templates/scheduler/targcc_scheduler")
RENDERED = dict.fromkeys(("templates/project", "blueprints"), "generator/targcc_gen/assets.py")
"""Folders of files that are rendered, and the module that finds them."""
ALL = frozenset(
    {"pyproject.toml", "uv.lock", "tests/conftest.py", "tests/rings.py", "tests/touched.py"}
)
"""Files that concern each test."""
LOADER = "templates/scheduler/targcc_scheduler/kernel/feature.py"
"""The module that imports features by their names."""
PROGRAMS = {"tests/generator/": PACKAGES[:1], "tests/scheduler/": PACKAGES[1:]}
"""Packages that processes run, by folder of tests; elsewhere all packages."""

_selected = pytest.StashKey[list[str]]()


# Changed files.


def changed_files(root: Path, base: str = "main") -> set[str]:
    """Return the files that differ from the common ancestor of `HEAD` and `base`, and files that Git does not know yet.

    Raises:
        pytest.UsageError: the folder is no Git repository, or it has no such commit.
    """
    if not root.joinpath(".git").exists():
        raise pytest.UsageError(f"--touched: {root} is no Git repository")
    ancestor = _git(root, "merge-base", "HEAD", base)
    if not ancestor:
        raise pytest.UsageError(
            f"--touched: no common ancestor of HEAD and {base}; name another commit: --base origin/main"
        )
    tracked = _git(root, "diff", "--name-only", "--no-renames", "-z", ancestor[0].strip())
    return set(tracked + _git(root, "ls-files", "--others", "--exclude-standard", "-z"))


def _git(root: Path, *words: str) -> list[str]:
    done = subprocess.run(
        ["git", *words], cwd=root, capture_output=True, check=False, text=True, encoding="utf-8"
    )
    return [name for name in done.stdout.split("\0") if name] if done.returncode == 0 else []


# Test files that depend on them.


class Module:
    """One Python file: its imports, and the names that may be fixtures."""

    def __init__(self, root: Path, path: str) -> None:
        self.path = path
        self.tree = ast.parse((root / path).read_text(encoding="utf-8"))

    @cached_property
    def texts(self) -> set[str]:
        """Words and parts of paths in its string literals."""
        nodes = (node.value for node in ast.walk(self.tree) if isinstance(node, ast.Constant))
        return {word for text in nodes if isinstance(text, str) for word in re.split(r"[\s/\\]+", text)}  # fmt: skip

    @cached_property
    def names(self) -> set[str]:
        """Names that may be fixtures of other files."""
        return set(names_in(self.tree))

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
        """Functions at the top."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        return {node.name: node for node in self.tree.body if isinstance(node, kinds)}

    @cached_property
    def automatic(self) -> set[str]:
        """Fixtures at the top that no test has to ask for."""
        return {
            name
            for name, node in self.functions.items()
            if any("autouse=True" in ast.unparse(part) for part in node.decorator_list)
        }


def names_in(tree: ast.AST, *, variables: bool = False) -> Iterator[str]:
    """Yield regular expressions of the names that may be fixtures: of parameters, in string literals, and of `variables`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value.isidentifier():
                yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = [re.escape(part.value) if isinstance(part, ast.Constant) else r"\w+" for part in node.values]  # fmt: skip
            if any(part != r"\w+" for part in parts):
                yield "".join(parts)
        elif variables and isinstance(node, ast.Name):
            yield node.id


class Dependencies:
    """Map test files to the files that they depend on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        folders = [root / folder for folder in (*PACKAGES, "tests")]
        skipped = ("tests/data/", "tests/snapshots/trees/")
        paths = (file.relative_to(root).as_posix() for folder in folders for file in folder.rglob("*.py"))  # fmt: skip
        self.modules = {path: Module(root, path) for path in paths if not path.startswith(skipped)}
        self.tests = sorted(
            path
            for path in self.modules
            if path.startswith("tests/") and PurePosixPath(path).name.startswith("test_")
        )
        self._files: dict[str, set[str]] = defaultdict(set)
        for path in self.modules:
            for name in self._importable(path):
                self._files[name].add(path)
        self._homes = {package: self._homes_of(package) for package in PACKAGES}
        self._edges: dict[str, set[str]] = {}
        self._leads: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
        self._by_name: dict[str, dict[str, set[str]]] = {}

    @staticmethod
    def _importable(path: str) -> Iterator[str]:
        """Yield the dotted names under which a file may be imported: of tests, from each folder above."""
        package = next((folder for folder in PACKAGES if path.startswith(f"{folder}/")), None)
        parts = PurePosixPath(path).with_suffix("").parts
        start = len(PurePosixPath(package).parts) - 1 if package else 1
        parts = parts[start:-1] if parts[-1] == "__init__" else parts[start:]
        for first in range(1 if package else len(parts)):
            yield ".".join(parts[first:])

    def _homes_of(self, package: str) -> dict[str, str]:
        """Return where the lazily imported names of a package are defined, from its table `_HOMES`."""
        start = self.modules.get(f"{package}/__init__.py")
        for node in start.tree.body if start else ():
            if isinstance(node, ast.Assign | ast.AnnAssign) and "_HOMES" in ast.unparse(node)[:8]:
                table: dict[str, Sequence[str]] = ast.literal_eval(node.value)
                return {name: home for home, names in table.items() for name in names}
        return {}

    def files_of(self, dotted: str, path: str) -> set[str]:
        """Return the files that an imported name stands for, as `path` imports it."""
        if dotted.startswith("."):
            own = PurePosixPath(path).parts
            dots = len(dotted) - len(dotted.lstrip("."))
            package = next(
                (folder for folder in (*PACKAGES, "tests") if path.startswith(folder)), ""
            )
            above = len(PurePosixPath(package).parts) - (package != "tests")
            dotted = ".".join((*own[above : len(own) - dots], dotted.lstrip(".")))
        parts = dotted.split(".")
        result: set[str] = set()
        for length in range(len(parts), 0, -1):  # the packages around a module run too
            result |= self._files.get(".".join(parts[:length]), set())
        for package, homes in self._homes.items():
            if parts[0] == PurePosixPath(package).name and len(parts) == 2 and parts[1] in homes:
                result |= self.files_of(f"{parts[0]}.{homes[parts[1]]}", path)
        return result

    def edges(self, path: str) -> set[str]:
        """Return the files that a file imports, or names as modules of its package in string literals."""
        if path not in self._edges:
            module = self.modules[path]
            names = set(imports_in(module.tree))
            package = next((folder for folder in PACKAGES if path.startswith(folder)), None)
            if package and path != f"{package}/__init__.py":
                own = PurePosixPath(package).name
                dotted = {text for text in module.texts if "." in text.strip(".")}
                names |= {text for text in dotted if text in self._files}
                names |= {f"{own}.{text}" for text in dotted if f"{own}.{text}" in self._files}
            self._edges[path] = {file for name in names for file in self.files_of(name, path)}
        return self._edges[path]

    def of(self, test: str) -> set[str]:
        """Return the files that a test file depends on, and itself."""
        above = [f"{folder}/conftest.py" for folder in PurePosixPath(test).parents]
        conftests = [self.modules[path] for path in reversed(above) if path in self.modules]
        result = {module.path for module in conftests}
        files, names, seen = [test], set[str](), set[str]()
        for module in conftests:
            files += self._at_import(module)
            names |= self._automatic(module)
        while files or names:
            while files:
                if (path := files.pop()) not in result:
                    result.add(path)
                    files += self.edges(path)
                    names |= self.modules[path].names if path.startswith("tests/") else set()
            names -= seen
            seen |= names
            leads = [self._lead(name, module) for name in names for module in conftests]
            files += (file for more, _ in leads for file in more)
            names = {name for _, more in leads for name in more}
        if "processes" in seen or LOADER in result:
            programs = next((own for folder, own in PROGRAMS.items() if test.startswith(folder)), PACKAGES)  # fmt: skip
            result |= {path for path in self.modules if path.startswith(programs)}
        return result

    def _at_import(self, module: Module) -> set[str]:
        """Return the modules that a conftest imports whole."""
        nodes = [node for node in module.tree.body if isinstance(node, ast.Import)]
        return self._imported(nodes, module)

    def _imported(self, nodes: Iterable[ast.AST], module: Module) -> set[str]:
        names = {dotted for node in nodes for dotted in imports_in(node)}
        return {file for dotted in names for file in self.files_of(dotted, module.path)}

    def _automatic(self, module: Module) -> set[str]:
        """Return the fixtures of a conftest that no test has to ask for."""
        imported = self._imports(module).items()
        return module.automatic | {
            name
            for name, home in imported
            if any(name in self.modules[file].automatic for file in home)
        }

    def _imports(self, module: Module) -> dict[str, set[str]]:
        """Map the names that a conftest imports from files to the files."""
        if module.path not in self._by_name:
            nodes = [node for node in module.tree.body if isinstance(node, ast.ImportFrom)]
            self._by_name[module.path] = {
                alias.asname
                or alias.name: self.files_of(f"{'.' * node.level}{node.module}", module.path)
                for node in nodes
                for alias in node.names
            }
        return self._by_name[module.path]

    def _lead(self, name: str, module: Module) -> tuple[set[str], set[str]]:
        """Return the files and names that a fixture of a conftest leads to; the name may be a regular expression."""
        if (name, module.path) not in self._leads:
            known = {*self._imports(module), *module.functions}
            is_meant = re.compile(name).fullmatch
            meant = {name} & known if name.isidentifier() else set(filter(is_meant, known))
            nodes = [module.functions[fixture] for fixture in meant & module.functions.keys()]
            files = {file for fixture in meant for file in self._imports(module).get(fixture, ())}
            names = {used for node in nodes for used in names_in(node, variables=True)}
            self._leads[name, module.path] = files | self._imported(nodes, module), names
        return self._leads[name, module.path]


def touched_tests(root: Path, changed: Collection[str]) -> list[str]:
    """Return the test files that depend on changed files."""
    if not changed:
        return []
    graph = Dependencies(root)
    if ALL.intersection(changed):
        return graph.tests
    modules: set[str] = set()
    tests: set[str] = set()
    for path in changed:
        if path in graph.modules:
            modules.add(path)
        elif path.startswith(tuple(f"{folder}/" for folder in PACKAGES)):
            modules |= _beside(path, graph.modules)
        elif home := next((RENDERED[folder] for folder in RENDERED if path.startswith(f"{folder}/")), None):  # fmt: skip
            modules.add(home)
        elif path.startswith("tests/") and not path.startswith("tests/data/"):
            if path.endswith(".py") and "/test_" in path:
                continue  # removed
            tests |= _below(path, graph.tests)
        else:
            parts = {part for part in PurePosixPath(path).parts if part not in {"tests", "data"}}
            modules |= {file for file, module in graph.modules.items()
                        if file.startswith("tests/") and parts & module.texts}  # fmt: skip
    return [test for test in graph.tests if test in tests or modules & graph.of(test)]


def _beside(path: str, modules: Collection[str]) -> set[str]:
    """Return the modules in the folder of a file, or in the nearest folder above that has modules."""
    for folder in PurePosixPath(path).parents:
        if beside := {file for file in modules if PurePosixPath(file).parent == folder}:
            return beside
    return set()


def _below(path: str, tests: Sequence[str]) -> set[str]:
    """Return the tests in the folder of a file, or in the nearest folder above that has tests."""
    for folder in PurePosixPath(path).parents:
        if below := {test for test in tests if test.startswith(f"{folder}/")}:
            return below
    return set()


# Pytest.


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose changed files."""
    group = parser.getgroup("touched")
    group.addoption(
        "--touched",
        action="store_true",
        help="run the test files that depend on files changed since the branch left main, as in --ring 1,2 --touched",
    )
    group.addoption(
        "--base", metavar="REVISION", default="main", help="compare with another branch or commit"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Choose test files before the collection; end with exit status 0 if nothing depends on a change."""
    if not config.getoption("--touched") or hasattr(config, "workerinput"):
        return None
    changed = changed_files(ROOT, config.getoption("--base"))
    tests = [test for test in touched_tests(ROOT, changed) if _is_chosen(config, test)]
    if not tests:
        base = config.getoption("--base")
        cause = "no test file depends on them" if changed else "nothing to run"
        sys.stdout.write(f"touched: {len(changed)} files differ from {base}: {cause}\n")
        return int(pytest.ExitCode.OK)
    config.stash[_selected] = [str(ROOT / test) for test in tests]
    return None


def _is_chosen(config: pytest.Config, test: str) -> bool:
    """Return whether a test file is in a file or folder that the command names."""
    if config.args_source != pytest.Config.ArgsSource.ARGS:
        return True
    paths = [(config.invocation_params.dir / word.partition("::")[0]).resolve() for word in config.args]  # fmt: skip
    return any((ROOT / test).is_relative_to(path) for path in paths)


def pytest_configure(config: pytest.Config) -> None:
    """Collect the chosen test files alone, in workers of pytest-xdist too."""
    worker = getattr(config, "workerinput", {})
    if tests := worker.get("touched") or config.stash.get(_selected, None):
        config.stash[_selected] = config.args = list(tests)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the chosen test files to a worker."""
    node.workerinput["touched"] = node.config.stash.get(_selected, None)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Count the chosen test files."""
    tests = config.stash.get(_selected, None)
    return f"touched: {len(tests)} test files depend on a change" if tests else None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Succeed if no test of the chosen rings depends on a change."""
    is_empty = session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED
    if is_empty and _selected in session.config.stash:
        session.exitstatus = pytest.ExitCode.OK
