"""Simulate a year of a project: seeded actions of people, machines and accidents, and the guarantees checked after each action."""

from __future__ import annotations

import importlib
import itertools
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from targcc_gen.cli import main
from targcc_gen.sync.disk import Files
from test_recovery import Killed, KillError

APPLYING = importlib.import_module("targcc_gen.sync.apply")
NAMES = [
    f"{what}{thing}"
    for what in ("Daily", "Send", "Load", "Clean", "Check", "Export", "Count", "Sort", "Watch")
    for thing in (
        "Orders",
        "Invoices",
        "Prices",
        "Mails",
        "Stock",
        "Logs",
        "Files",
        "Users",
        "Bills",
    )
]
SCHEDULES = ('cron: "%d %d * * *"', "every: %dm", "type: manual")
ONE_LINE = re.compile(r"^(@job\((?!.*priority)[^()\n]+)\)$", re.MULTILINE)
HEAD = re.compile(r"  ([A-Z]\w*):")
SKIPPED = {".git", "__pycache__", ".pytest_cache", ".venv"}
UNSEEN = "in code, not in the spec"
OTHERS = ("README.md", "Dockerfile", "pyproject.toml", "compose.yaml", ".env.example")


class Broken(AssertionError):  # noqa: N818 - it says what is broken
    """Raised when a guarantee is broken."""


class Year:
    """A project, the people who work on it, and their edits.

    Args:
        root: The project's folder.
        seed: Seed of the random actions.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.chance = random.Random(seed)
        self.written: dict[str, str] = {}
        """Each line that a person wrote, and its file."""
        self.said = ""
        """Output of all commands."""
        self.deleted: list[str] = []
        self.story: list[str] = []
        self.names = iter(self.chance.sample(NAMES, len(NAMES)))
        self.spec = root / "targcc.yaml"
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.email", "dana@example.com")
        self.git("config", "user.name", "Dana")
        self.commit("birth")

    # Actions.

    def act(self, kind: str) -> None:
        """Do one action and check every guarantee."""
        self.story.append(kind)
        getattr(self, kind)()
        self.keeps_every_line()
        self.check_tells_the_truth()

    def add_by_command(self) -> None:
        """Run `targcc-gen job NAME`."""
        name = next(self.names)
        hour = self.chance.randrange(24)
        blueprint = self.chance.choice(["blank", "cleanup", "report", "sync", "batch"])
        self.settled("job", name, "--cron", f"5 {hour} * * *", "--blueprint", blueprint)

    def add_in_spec(self) -> None:
        """Type a job into the spec, in one line."""
        schedule = self.chance.choice(SCHEDULES)
        numbers = (self.chance.randrange(1, 24), self.chance.randrange(24))[: schedule.count("%d")]
        self.type_in(schedule % numbers)
        self.settle_or_leave()

    def change_in_spec(self) -> None:
        """Give a job a timeout in the spec."""
        if not (jobs := self.jobs()):
            return
        name = self.chance.choice(jobs)
        done = f"  {name}: {{type: manual, timeout: {self.chance.randrange(1, 90)}m}}"
        before, _, after = self.parts(name)
        self.spec.write_text("\n".join([*before, done, *after]) + "\n", encoding="utf-8")
        self.settle_or_leave()

    def remove_by_command(self) -> None:
        """Run `targcc-gen job --remove NAME`."""
        if len(jobs := self.jobs()) > 2:
            self.settled("job", "--remove", self.chance.choice(jobs))

    def remove_in_spec(self) -> None:
        """Remove a job from the spec by hand."""
        if len(jobs := self.jobs()) > 2:
            gone = self.chance.choice(jobs)
            before, _, after = self.parts(gone)
            kept = [line for line in (*before, *after) if not line.strip().endswith(f": {gone}")]
            self.spec.write_text("\n".join(kept) + "\n", encoding="utf-8")
            self.settle_or_leave()

    def rename_by_command(self) -> None:
        """Run `targcc-gen job NAME --rename NEW`."""
        if jobs := self.jobs():
            self.settled("job", self.chance.choice(jobs), "--rename", next(self.names))

    def edit_a_decorator(self) -> None:
        """Give a job a priority in its decorator."""
        modules = [(path, path.read_text(encoding="utf-8")) for path in self.code("jobs")]
        if files := [(path, text) for path, text in modules if ONE_LINE.search(text)]:
            path, text = self.chance.choice(files)
            more = f", priority={self.chance.randrange(1, 9)})"
            path.write_text(ONE_LINE.sub(rf"\1{more}", text, count=1), encoding="utf-8")
            self.settle_or_leave()

    def edit_a_job(self) -> None:
        """Edit the body of a job."""
        files = [path for path in self.code("jobs") if "def execute" in path.read_text("utf-8")]
        if files:
            self.write_into(self.chance.choice(files), after="def execute")

    def edit_the_scheduler(self) -> None:
        """Edit the source of the scheduler."""
        if files := self.source():
            self.write_into(self.chance.choice(files))

    def edit_the_rest(self) -> None:
        """Edit a file that a project gets once."""
        paths = [self.root / name for name in OTHERS]
        paths += [path for path in self.code(".") if path.name in {"main.py", "services.py"}]
        if files := [path for path in paths if path.is_file()]:
            self.write_into(self.chance.choice(files))

    def format_some(self) -> None:
        """Run a formatter with other settings over a folder."""
        some = self.chance.choice([self.code("jobs"), self.source("core"), self.source("node")])
        files = [path for path in some[:25] if path.is_file()]
        if files:
            width = self.chance.choice(["88", "100"])
            command = [sys.executable, "-m", "black", "-q", "-l", width, *map(str, files)]
            subprocess.run(command, check=True, timeout=120)

    def switch(self) -> None:
        """Switch between vendored source and package; edits of the source block the switch."""
        way = self.chance.choice(["package", "vendored"])
        before = self.state()
        result = self.gen("scheduler", way, allowed={0, 3})
        if result.exit_code:
            self.is_unchanged(before, result)

    def delete_a_file(self) -> None:
        """Delete a file; half of the deleted files are restored soon, the others at the end of the month."""
        path = self.chance.choice([*self.source(), *self.code("jobs")])
        name = path.relative_to(self.root).as_posix()
        if any(place == name for place in self.written.values()) or path.name == "__init__.py":
            return
        path.unlink()
        self.deleted.append(name)
        if self.chance.random() < 0.5:
            self.bring_back()

    def bring_back(self) -> None:
        """Restore the deleted files that the project still has."""
        while self.deleted:
            self.gen("restore", str(self.root / self.deleted.pop()), allowed={0, 2})

    def kill(self) -> None:
        """Kill a writing command; people keep editing, and the next command runs."""
        self.type_in("type: manual")
        at = self.chance.randrange(2, 30)

        def killed() -> Files:
            return Killed(at)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(APPLYING._Run, "_clean_up", lambda *_, **__: None)
            patch.setattr(APPLYING._Run, "_undo", lambda *_: None)
            patch.setattr(APPLYING, "Files", killed)
            try:
                CliRunner().invoke(
                    main, ["regenerate", "--project", str(self.root)], catch_exceptions=False
                )
            except KillError:
                self.story.append(f"killed at {at}")
        if self.chance.random() < 0.5:
            self.edit_a_job()
        self.settled("regenerate")

    def branch_and_merge(self) -> None:
        """Add a job on each of two branches; after the merge one command makes the tree right."""
        self.settled("regenerate")
        self.commit("before the branch")
        self.git("checkout", "-q", "-b", "other")
        self.add_by_command()
        self.commit("there")
        self.git("checkout", "-q", "main")
        self.add_by_command()
        self.commit("here")
        self.git("merge", "-q", "--no-edit", "other", may_fail=True)
        self.git("branch", "-q", "-D", "other")
        self.settled("regenerate")
        self.commit("merged")

    # Guarantees.

    def keeps_every_line(self) -> None:
        """Check that every line of a person exists, unless a command named the file where the line is kept."""
        texts = self.state()
        for line, place in self.written.items():
            mark = line.encode()
            where = [path for path, text in texts.items() if mark in text]
            if not where:
                raise Broken(self.told(f"{line!r} of {place} is lost"))
            aside = [path for path in where if path.startswith(".targcc/")]
            if aside == where and not any(path in self.said for path in aside):
                raise Broken(self.told(f"{line!r} of {place} lies in {where}, and nobody said so"))

    def check_tells_the_truth(self) -> None:
        """Check that `--check` returns 0 exactly when `regenerate` has nothing to write, and that no job runs outside the spec."""
        before = self.state()
        check = self.gen("regenerate", "--check", allowed={0, 1, 3})
        self.is_unchanged(before, check)
        copy = self.root.with_name(f"{self.root.name}-copy")
        shutil.copytree(self.root, copy, ignore=shutil.ignore_patterns(".git", "__pycache__"))
        try:
            done = self.invoke("regenerate", "--project", str(copy))
            changes = done.exit_code != 0 or _state(copy) != before or UNSEEN in done.output
        finally:
            shutil.rmtree(copy)
        if changes != bool(check.exit_code):
            raise Broken(
                self.told(f"--check: {check.exit_code}, regenerate changes: {changes}", check, done)
            )

    def is_unchanged(self, before: dict[str, bytes], result: Result) -> None:
        """Check that a read-only or refused command wrote nothing."""
        after = self.state()
        if before != after:
            changed = [path for path in before | after if before.get(path) != after.get(path)]
            raise Broken(self.told(f"{changed} changed", result))

    def works(self) -> None:
        """Check that the project's own tests pass and every job is found."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TARGCC_")}
        environment["PYTHONPATH"] = str(self.root / "src")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
        done = subprocess.run(
            command,
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise Broken(self.told(done.stdout[-6000:] + done.stderr[-2000:]))

    # Helpers.

    def gen(self, *words: str, allowed: set[int]) -> Result:
        """Run the command in this project."""
        result = self.invoke(*words, "--project", str(self.root))
        self.said += result.output
        if result.exit_code not in allowed:
            raise Broken(self.told(f"{words}: {result.exit_code}", result))
        return result

    def invoke(self, *words: str) -> Result:
        return CliRunner().invoke(main, words, prog_name="targcc-gen")

    def settled(self, *words: str) -> None:
        """Run a writing command; conflicts are decided first, at random."""
        before = self.state()
        result = self.gen(*words, allowed={0, 3})
        for _ in range(3):
            if not result.exit_code:
                return
            self.is_unchanged(before, result)
            side = self.chance.choice(["--mine", "--generated"])
            self.story.append(side)
            self.gen("regenerate", side, str(self.root), allowed={0, 3})
            before = self.state()
            result = self.gen(*words, allowed={0, 3}) if words != ("regenerate",) else result
            if words == ("regenerate",):
                result = self.gen("regenerate", allowed={0, 3})
        if result.exit_code:
            raise Broken(self.told(f"{words} cannot be settled", result))

    def settle_or_leave(self) -> None:
        """Regenerate at once in most cases; otherwise leave this to the next action."""
        if self.chance.random() < 0.8:
            self.settled("regenerate")

    def type_in(self, entry: str) -> None:
        """Add a job to the spec."""
        before, head, after = self.spec.read_text(encoding="utf-8").partition("\njobs:\n")
        line = f"  {next(self.names)}: {{{entry}}}\n"
        self.spec.write_text(f"{before}{head}{line}{after}", encoding="utf-8")

    def write_into(self, path: Path, after: str | None = None) -> None:
        """Add a comment to a file below a line, where a line can begin."""
        lines = path.read_text(encoding="utf-8").splitlines()
        begin = 0
        if after is not None:
            begin = next(i for i, text in enumerate(lines) if after in text) + 1
        line = f"# mine {self.chance.randrange(10**9):09}"
        places = [
            i
            for i in range(begin, len(lines))
            if lines[i].strip() and not lines[i].rstrip().endswith("\\")
        ]
        place = self.chance.choice(places or [len(lines)])
        indent = re.match(r"\s*", lines[place])[0] if places else ""
        lines.insert(place, f"{indent}{line}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.written[line] = path.relative_to(self.root).as_posix()

    def code(self, folder: str) -> list[Path]:
        """Return the Python files of a folder of the package, including files that nobody edits."""
        return sorted((self.root / "src/acme_jobs" / folder).rglob("*.py"))

    def source(self, folder: str = ".") -> list[Path]:
        """Return the Python files of a folder of the vendored scheduler source; none with the package."""
        tree = self.root / "vendor/targcc-scheduler/targcc_scheduler"
        return sorted((tree / folder).rglob("*.py"))

    def jobs(self) -> list[str]:
        """Return the jobs of the spec."""
        lines = self.spec.read_text(encoding="utf-8").splitlines()
        start = lines.index("jobs:") + 1
        own = itertools.takewhile(lambda text: not text or text[0] in " #", lines[start:])
        return [match[1] for text in own if (match := HEAD.match(text))]

    def parts(self, name: str) -> tuple[list[str], list[str], list[str]]:
        """Return the lines of the spec before a job, of the job, and after it."""
        lines = self.spec.read_text(encoding="utf-8").splitlines()
        start = next(i for i, text in enumerate(lines) if text.startswith(f"  {name}:"))
        end = start + 1
        while end < len(lines) and lines[end].startswith("   "):
            end += 1
        return lines[:start], lines[start:end], lines[end:]

    def state(self) -> dict[str, bytes]:
        return _state(self.root)

    def git(self, *words: str, may_fail: bool = False) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=self.root,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        if done.returncode and not may_fail:
            raise Broken(self.told(f"git {words}: {done.stdout}{done.stderr}"))
        return done.stdout

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)

    def told(self, what: str, *results: Result) -> str:
        """Return a message with the actions and the output of the commands."""
        output = "\n".join(f"{result.output}\n{result.exception!r}" for result in results)
        return f"{what}\nafter {', '.join(self.story)}\n{output}"


def _state(root: Path) -> dict[str, bytes]:
    """Return every visible file, and the generator's own files."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not SKIPPED & set(path.relative_to(root).parts)
    }


ACTS: dict[str, int] = {
    "add_by_command": 3,
    "add_in_spec": 3,
    "change_in_spec": 3,
    "remove_by_command": 1,
    "remove_in_spec": 1,
    "rename_by_command": 2,
    "edit_a_decorator": 2,
    "edit_a_job": 5,
    "edit_the_scheduler": 3,
    "edit_the_rest": 3,
    "format_some": 2,
    "switch": 1,
    "delete_a_file": 2,
    "kill": 2,
    "branch_and_merge": 1,
}
"""Actions and their weights."""


def month(year: Year, acts: int, *, whole: Callable[[Year], None] | None = None) -> None:
    """Do some actions; then regenerate and check the project."""
    kinds, weights = zip(*ACTS.items(), strict=True)
    for kind in year.chance.choices(kinds, weights, k=acts):
        year.act(kind)
    year.settled("regenerate")
    year.bring_back()
    if whole is not None:
        whole(year)
    year.commit("month")
