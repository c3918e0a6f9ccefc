"""Each entry point of the table is found and patched, or refused with lines that work; undo restores every byte."""

from __future__ import annotations

import ast
import contextlib
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import targcc_scheduler
from entry_points import ENTRIES, Entry, table
from targcc_gen.patch.app_file import AppFile, RefusalError, Source
from targcc_gen.patch.detect import Target, entry_of, find_target
from targcc_gen.patch.prepare import choose_app, wrapped_lines
from targcc_gen.patch.verify import Trial
from targcc_gen.patch.wiring import Patched, Wiring, includes, unwire, wire

ROOT = Path(__file__).parents[3]


def written(root: Path, files: dict[str, str]) -> Path:
    for path, text in {"setup.py": "", **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def found(root: Path, entry: Entry) -> tuple[Target, str | None]:
    file = next((root / argument for argument in entry.arguments if argument.endswith(".py")), None)
    app = entry.arguments[1] if entry.arguments[:1] == ("--app",) else None
    return find_target(root, file, app), app


@dataclass(frozen=True)
class Wrapped:
    """A file with the line that wraps its app.

    Args:
        target: The file that the server loads.
        patched: The file after the patch.
    """

    target: Target
    patched: Patched


def wrapped(target: Target, wanted: str | None) -> Wrapped:
    """Wrap an app for which no router can be included."""
    wiring, app = wiring_of(target), target.app
    with contextlib.suppress(RefusalError):  # an app of another framework
        app = app or choose_app(target.file, wanted, wiring)
    if app is not None:
        with pytest.raises(RefusalError):
            wire(target.file, app, wiring)
    lines = wrapped_lines(target, app, wiring)
    assert lines is not None
    return Wrapped(lines[0], lines[2])


def wiring_of(target: Target) -> Wiring:
    return Wiring("jobs_scheduler.scheduler", target.layout.package)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_point_is_followed_patched_and_undone(tmp_path: Path, name: str):
    entry = ENTRIES[name]
    target, wanted = found(written(tmp_path, entry.files), entry)
    wiring = wiring_of(target)

    assert target.relative == entry.file
    before = target.file.source
    if entry.refused:
        with pytest.raises(RefusalError) as caught:
            wire(target.file, choose_app(target.file, wanted, wiring), wiring)
        assert entry.refused in (caught.value.hint or "")
        return
    if entry.wrapped:
        patched = wrapped(target, wanted).patched
        assert entry.wrapped in patched.data.decode().splitlines()
        assert unwire(Source(entry.file, patched.data), wiring) == before.data
        return
    app = target.app or choose_app(target.file, wanted, wiring)
    patched = wire(target.file, app, wiring)
    found_entry = entry_of(target, app)

    assert len(patched.added) >= 2
    assert all(line in patched.data.decode() for line in entry.more)
    assert not isinstance(found_entry, str), found_entry
    assert found_entry.shown.rstrip(":") == entry.served.rstrip(":")
    assert unwire(Source(entry.file, patched.data), wiring) == before.data


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.refused])
def test_the_lines_of_a_refusal_added_by_hand_are_the_schedulers_and_are_undone(
    tmp_path: Path, name: str
):
    target, by_hand = refused_and_added(tmp_path, name)
    wiring = wiring_of(target)

    again = AppFile(Source(target.relative, by_hand))
    assert any(includes(again, wiring)) or "worker" in ENTRIES[name].refused
    if "WSGIMiddleware" not in ENTRIES[name].refused and "return" not in ENTRIES[name].refused:
        assert unwire(again.source, wiring) == target.file.source.data


def refused_and_added(root: Path, name: str) -> tuple[Target, bytes]:
    """Return the refused target, and its file with the two lines of the help text inserted."""
    entry = ENTRIES[name]
    target, wanted = found(written(root, entry.files), entry)
    with pytest.raises(RefusalError) as caught:
        wire(target.file, choose_app(target.file, wanted, wiring_of(target)), wiring_of(target))
    hint_lines = [
        line.strip() for line in (caught.value.hint or "").splitlines() if line[:4] == "    "
    ]
    lines = [
        line
        for line in hint_lines
        if "scheduler" in line and " serve" not in line and " worker" not in line
    ]
    text = target.file.source.data.decode()
    if not lines:
        return target, text.encode()
    indent = "    " if name == "loop" else ""
    return target, "\n".join([lines[0], f"{text}{indent}{lines[1]}", ""]).encode()


def test_the_documentation_has_the_table():
    assert table() in (ROOT / "docs" / "patch.md").read_text(encoding="utf-8")


@pytest.mark.soak
def test_twenty_thousand_lines_take_little_more_than_reading_them(tmp_path: Path):
    """Patch and undo together, compared with Python's own parsing and walking, in processor time."""
    routes = "".join(
        f"@app.get('/x{i}')\ndef f{i}(a: int, b: str = 'x') -> dict[str, int]:\n    return {{'a': a}}\n\n\n"
        for i in range(4000)
    )
    text = f"from fastapi import FastAPI\n\napp = FastAPI()\n\n\n{routes}"
    written(tmp_path, {"shop/__init__.py": "", "shop/main.py": text})
    start = time.process_time()
    assert len([*ast.walk(ast.parse(text))]) > text.count("\n")
    once = time.process_time() - start

    start = time.process_time()
    target, _ = found(tmp_path, ENTRIES["module"])
    wiring = wiring_of(target)
    app = choose_app(target.file, None, wiring)
    patched = wire(target.file, app, wiring)
    assert unwire(Source("main.py", patched.data), wiring) == text.encode()
    assert time.process_time() - start < 25 * once


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of a patch, made once."""
    from click.testing import CliRunner
    from targcc_gen.cli.commands.patch import patch

    root = written(
        tmp_path_factory.mktemp("scheduler"), {"main.py": ENTRIES["no_package"].files["main.py"]}
    )
    done = CliRunner().invoke(patch, ["--project", str(root), "--no-verify"])
    assert done.exit_code == 0, done.output
    return root / "jobs_scheduler"


RUN_HERE = [
    name
    for name, entry in ENTRIES.items()
    if name
    not in {
        "litestar",
        "litestar_factory",  # its line stands inside the function
        "django_asgi",
        "django_channels",
        "django_wsgi",
        "flask",
        "flask_factory",
        "flask_subclass",
        "package_outside",
    }
    and ("with_scheduler" not in entry.refused or "with_scheduler" in targcc_scheduler.__all__)
]


@pytest.mark.soak
@pytest.mark.parametrize("name", RUN_HERE)
def test_an_entry_point_runs_a_job(tmp_path: Path, scheduler: Path, name: str):
    entry = ENTRIES[name]
    shutil.copytree(scheduler, tmp_path / "jobs_scheduler")
    target, wanted = found(written(tmp_path, entry.files), entry)
    wiring = wiring_of(target)
    if entry.wrapped:
        result = wrapped(target, wanted)
        target, data, served = result.target, result.patched.data, result.target.entry
    elif entry.refused:
        target, data = refused_and_added(tmp_path, name)
        served = (
            entry_of(target, choose_app(target.file, wanted, wiring))
            if name != "starlette"
            else None
        )
    else:
        app = target.app or choose_app(target.file, wanted, wiring)
        data = wire(target.file, app, wiring).data
        served = entry_of(target, app)
    if served is None:
        from targcc_gen.patch.detect import entry_by_name

        served = entry_by_name(target, None)
    target.path.write_bytes(data)
    assert not isinstance(served, str)

    outcome = Trial(Path(sys.executable), target.layout, served, wiring.module, (tmp_path,)).run(
        None
    )

    assert outcome.is_verified, outcome
