"""`targcc-gen demo`: render the example project and run it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from targcc_gen.cli.options import FOLDER, scheduler_option
from targcc_gen.errors import ObstacleError

if TYPE_CHECKING:
    from targcc_gen.demo import DemoProject


@click.command(short_help="Render the example project and run it.")
@click.argument("dest", required=False, type=FOLDER)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port to serve on.  [default: any free one]"
)
@click.option(
    "--check",
    is_flag=True,
    help="Start, run one job to success through the REST API, stop, exit 0.",
)
@scheduler_option
def demo(dest: Path | None, port: int | None, *, check: bool, scheduler: str | None) -> None:
    """Render the example project, start it and show its dashboard.

    The project is rendered into a temporary folder, which is removed at the end, or into DEST, which is kept.

    \b
    Example:
      targcc-gen demo
      targcc-gen demo acme-jobs --port 9000
      targcc-gen demo --scheduler package
    """
    import contextlib
    import tempfile

    with contextlib.ExitStack() as stack:
        if dest is None:
            folder = tempfile.TemporaryDirectory(prefix="targcc-demo-", ignore_cleanup_errors=True)
            dest = Path(stack.enter_context(folder)) / "acme-jobs"
        project = _prepare(dest, scheduler)
        if check:
            _check(project, port)
        else:
            _show(project, port)


def _prepare(dest: Path, scheduler: str | None) -> DemoProject:
    """Render the example into ``dest``, and find or create an interpreter that can run the project."""
    import time

    from targcc_gen.assets import examples
    from targcc_gen.cli.progress import rendered
    from targcc_gen.demo import DemoProject, create_python, find_python
    from targcc_gen.spec import parse_spec, read_text, set_scheduler
    from targcc_gen.sync import apply, make_plan

    started = time.perf_counter()
    file = examples() / "acme" / "targcc.yaml"
    text = read_text(file)
    if scheduler is not None:
        text = set_scheduler(text, scheduler, file.name)
    spec, dest = parse_spec(text, file.name), dest.resolve()
    plan = make_plan(rendered(spec, text), dest)
    if plan.conflicts:
        paths = ", ".join(change.path for change in plan.conflicts[:3])
        raise ObstacleError(
            f"{dest} holds files of its own ({paths}); nothing was written",
            hint="name a folder that does not exist yet",
        )
    apply(plan)
    click.echo(f"Created   {dest}  ({time.perf_counter() - started:.1f} s)")
    python = find_python(dest)
    if python is None:
        click.echo("Installs  what the project needs, into its own .venv (a minute, once) ...")
        python = create_python(dest)
    return DemoProject(dest, spec.project.package, python)


def _show(project: DemoProject, port: int | None) -> None:
    """Serve until Ctrl-C or until the server ends."""
    import contextlib

    from targcc_gen.demo import DemoError, free_port, serving

    click.echo("Stop with ctrl-C.\n")
    with contextlib.suppress(KeyboardInterrupt), serving(project, port or free_port()) as process:
        status = process.wait()
        if status:
            raise DemoError(f"the demo server ended with status {status}")


def _check(project: DemoProject, port: int | None) -> None:
    """Check the example: serve, run a job over REST, read its history, stop."""
    import subprocess

    from targcc_gen.demo import free_port, run_one_job, run_targcc, serving, wait_until_ready

    port = port or free_port()
    run_targcc(project, "migrate")
    token = run_targcc(project, "token", "create", "demo-check", "--role", "operator", "--quiet")
    with serving(project, port, output=subprocess.DEVNULL) as process:
        wait_until_ready(process, port)
        click.echo(f"Ready     http://127.0.0.1:{port}/jobs")
        run = run_one_job(port, token.strip(), "Heartbeat")
        click.echo(f"Ran       Heartbeat, run {run['id']}: {run['state']} ({run['message']})")
    click.echo("Stopped   all is well")
