"""What `targcc-gen patch` does: work out a plan, carry it out, look at the result, and take it back if that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from targcc_gen.errors import ConflictError, InputError
from targcc_gen.patch.app.apps import App
from targcc_gen.patch.app.candidates import find_file
from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.layout import Layout, find_layout, find_root, pyproject
from targcc_gen.patch.app.source import Source
from targcc_gen.patch.check.verify import (
    install_command,
    install_wheel_command,
    missing,
    project_python,
)
from targcc_gen.patch.check.verify import verify as look
from targcc_gen.patch.choose import choose_app
from targcc_gen.patch.edit.wiring import Patched, Wiring, paste, wire
from targcc_gen.patch.rollback import roll_back
from targcc_gen.patch.target_package import (
    TargetPackage,
    find_target_package,
    new_files,
    requirements,
)
from targcc_gen.sync import Lock, LockEntry, Owner, Plan, Tree, TreeFile, apply, make_plan


@dataclass(frozen=True)
class Target:
    """The file that a command is about.

    Args:
        root: The project's folder, absolute.
        path: The file, absolute.
        file: What it says.
        layout: How it is imported.
    """

    root: Path
    path: Path
    file: AppFile
    layout: Layout

    @property
    def relative(self) -> str:
        """The file below the project's folder, with `/`."""
        return self.path.relative_to(self.root).as_posix()


@dataclass(frozen=True)
class Prepared:
    """A patch that is ready to be carried out.

    Args:
        target: The file.
        app: The app in it.
        package: The package that the scheduler lives in.
        wiring: How the file imports the router.
        patched: The file after its patch.
        plan: Everything that is written.
        notes: What a person should know.
    """

    target: Target
    app: App
    package: TargetPackage
    wiring: Wiring
    patched: Patched
    plan: Plan
    notes: tuple[str, ...]

    @property
    def nothing_to_do(self) -> bool:
        """Whether the app has the scheduler already."""
        return not self.patched.added

    def to_json(self) -> dict[str, Any]:
        """The patch for a program."""
        return {
            **self.plan.to_json(),
            "file": self.target.relative,
            "app": f"{self.target.layout.module}:{self.app.label}",
            "added": [{"line": line, "text": text.strip()} for line, text in self.patched.added],
            "notes": list(self.notes),
        }


def find_target(project: Path | None, file: Path | None, app: str | None) -> Target:
    """The file to patch: the one named, or the only one that makes an app.

    Args:
        project: The project's folder; found from the file, or the current folder, when not named.
        file: The file; searched for when not named.
        app: `name` or `module:name`.

    Raises:
        InputError: There is no such file, there are several, or it is no Python that can be read.
    """
    module = app.rpartition(":")[0] if app else ""
    named = file.resolve() if file else None
    root = project.resolve() if project else find_root(named or Path.cwd())
    if not root.is_dir():
        raise InputError(f"{root} is no folder")
    path = named or _known_file(root) or find_file(root, module or None)
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    parsed = AppFile(Source(shown, _read(path)))
    return Target(root, path, parsed, find_layout(parsed, path, root, module or None))


def _known_file(root: Path) -> Path | None:
    """The file that was patched before."""
    known = [
        path for path, entry in Lock.load(root).entries.items() if entry.owner is Owner.PATCHED
    ]
    return root / known[0] if len(known) == 1 and (root / known[0]).is_file() else None


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(
            f"{path} is a folder", hint="Name the file that makes the app, or none at all."
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def prepare(target: Target, app_name: str | None, scheduler: str | None = None) -> Prepared:
    """Work out everything that a patch changes; nothing is written.

    Args:
        target: The file.
        app_name: `name` or `module:name`.
        scheduler: How a new project is to have the scheduler: `vendored` or `package`.

    Raises:
        InputError: The app cannot be wired with certainty, or the project has the scheduler the other way.
    """
    package = find_target_package(target.layout, pyproject(target.root), scheduler)
    wiring = Wiring(package.router_module, target.layout.package)
    app = choose_app(target.file, app_name, wiring)
    patched = wire(target.file, app, wiring)
    files, kept = new_files(package, target.root) if package.is_new else ([], [])
    if patched.added:
        original = target.file.source.data
        files.append(TreeFile(target.relative, patched.data, Owner.PATCHED, replaces=original))
    plan = make_plan(Tree.of(files, complete=False), target.root)
    if plan.conflicts:
        listed = "\n".join(f"  {one.path}: {one.reason}" for one in plan.conflicts)
        raise ConflictError(f"something is in the way, nothing was written\n{listed}")
    return Prepared(target, app, package, wiring, patched, _with_known(plan, kept), package.notes)


def _with_known(plan: Plan, kept: Sequence[TreeFile]) -> Plan:
    """The plan whose lock also knows the app's files that stand in for ours, as after a regenerate."""
    known = {
        file.path: LockEntry.of(file.path, file.owner, file.content, keep_base=True)
        for file in kept
    }
    return replace(plan, lock=Lock({**plan.lock.entries, **known}, plan.lock.generator))


def check_environment(prepared: Prepared) -> bool:
    """Whether the project's environment can import the patched app; not while the wheel that the patch brings is not in it.

    Raises:
        InputError: It lacks something; with the command that adds it.
    """
    target = prepared.target
    python = project_python(target.root)
    lacking = missing(python, target.layout, requirements(prepared.package.spec))
    if lacking and prepared.package.spec.scheduler == "package" and prepared.package.is_new:
        return False
    if lacking:
        raise InputError(
            f"{python} lacks what the scheduler needs, so the patched app could not be tried: nothing was written",
            hint=(
                f"{_install(prepared, lacking)}\n"
                "then run this again; or write without trying: --no-verify"
            ),
        )
    return True


def install_line(prepared: Prepared) -> str:
    """The command that adds everything the scheduler needs to the project."""
    return _install(prepared, requirements(prepared.package.spec))


def _install(prepared: Prepared, lacking: list[str]) -> str:
    root, spec = prepared.target.root, prepared.package.spec
    if spec.scheduler == "vendored":
        return install_command(root, pyproject(root), lacking)
    from targcc_gen.render.wheel import wheel_path

    extras = ["run", "postgresql"] if spec.database == "postgresql" else ["run"]
    return install_wheel_command(pyproject(root), wheel_path(), extras)


def carry_out(prepared: Prepared, *, verify: bool) -> str | None:
    """Write it, and import the result.

    Args:
        prepared: The patch.
        verify: Whether to import it.

    Returns:
        What the import looked at; `None` when it was skipped.

    Raises:
        InputError: The app does not work with the scheduler in it. Everything is as it was.
    """
    apply(prepared.plan)
    if not verify:
        return None
    target, package = prepared.target, prepared.package
    try:
        python = project_python(target.root)
        return look(
            python, target.layout, prepared.app, package.router_module, extra=(package.source,)
        ).looked
    except BaseException as error:
        roll_back(prepared.plan)
        if isinstance(error, InputError):
            lines = paste(prepared.wiring, prepared.app)
            hint = (
                f"{error.hint or 'Once that works, run this again; or paste the lines.'}\n{lines}"
            )
            raise InputError(
                f"{error.message}\nEverything is as it was before.", hint=hint
            ) from error
        raise
