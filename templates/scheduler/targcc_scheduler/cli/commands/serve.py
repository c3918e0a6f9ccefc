"""``targcc serve`` and ``targcc worker``: processes that run until a signal stops them."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
from types import FrameType

import click

from ...core.extras import from_extra
from ...core.memory import trim_after_start
from ...core.text import visible
from ...scheduler import Scheduler
from ...schema_setup import prepare
from ...settings import Settings
from ..common import broken_lines, first_login, run, settings
from ..group import NoUserError, PortError
from ..interrupts import HANDS_BACK, NAMES, Interrupts


@click.command()
@click.option("--host", help="Address to listen on. Default: TARGCC_HOST, else 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0: a free port. Default: TARGCC_PORT, else 8000.",
)
@click.option(
    "--no-worker",
    is_flag=True,
    help="Serve the dashboard and REST API only. targcc worker runs the jobs.",
)
@click.option(
    "--app", "where", metavar="MODULE:NAME", help="App to serve instead of the project's own app."
)
def serve(*, host: str | None, port: int | None, no_worker: bool, where: str | None) -> None:
    """Run dashboard, REST API, scheduler and worker in one process.

    \b
    Example:
      targcc serve
      targcc serve --host 0.0.0.0 --port 9000 --no-worker
    """
    from ...web.state import shared_state
    from ..log_setup import configure_logging

    with from_extra("run", "targcc serve"):
        from ..web_server import load_app, serve_app
    chosen = settings(host=host, port=port)
    configure_logging(chosen)
    version = prepare(chosen)
    if not _is_loopback(chosen.host) and run(first_login(chosen)) is not None:
        raise NoUserError(
            f"not listening at {chosen.host}: there is no user yet, and the login link is for this machine only.\n"
            "  Make one first: targcc user add NAME"
        )
    listener = listen(chosen)
    host, port = listener.getsockname()[:2]
    chosen = chosen.model_copy(update={"host": host, "port": port})
    # The imported app builds its own settings from the environment; pass the chosen values on.
    os.environ["TARGCC_HOST"], os.environ["TARGCC_PORT"] = host, str(port)
    os.environ["TARGCC_MODE"] = chosen.mode
    app = load_app(where)
    shared_state(app).targcc_work = not no_worker
    _exit_on_signals()
    serve_app(app, chosen, version, listener)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(chosen: Settings) -> socket.socket:
    """Return a socket that listens at the address of the settings.

    Raises:
        CliError: The address is taken, or does not exist.
    """
    return listen_at(chosen.host, chosen.port)


def listen_at(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address; port 0 is a free port.

    Raises:
        CliError: The address is taken, or does not exist.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    if os.name != "nt":  # on Windows this option would let two servers share a port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)  # bind alone may succeed while another process has the port
    except OSError as error:
        listener.close()
        raise PortError(
            f"cannot listen at {host} port {port}: {error.strerror}; choose another with --port"
        ) from None
    return listener


def _exit_on_signals() -> None:
    """Exit with status 0 on a stop signal: uvicorn raises the signal again after its shutdown."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, leave)


@click.command()
@click.option(
    "--queue",
    "--queues",
    "queues",
    multiple=True,
    metavar="NAME[,NAME…]",
    help="Run jobs of this queue only. May be repeated.",
)
def worker(*, queues: tuple[str, ...]) -> None:
    """Run jobs without the dashboard and REST API. Start it on as many machines as needed.

    \b
    Example:
      targcc worker
      targcc worker --queue critical
    """
    from ..log_setup import configure_logging

    chosen = settings()
    configure_logging(chosen)
    wanted = [name.strip() for part in queues for name in part.split(",") if name.strip()]
    run(_work(chosen, wanted or None))


async def _work(chosen: Settings, queues: list[str] | None) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    scheduler = Scheduler(chosen)

    def leave() -> None:
        scheduler.hold()
        loop.call_soon_threadsafe(stop.set)

    def hurry() -> None:
        scheduler.hold(hurry=True)
        loop.call_soon_threadsafe(click.echo, HANDS_BACK)

    Interrupts(leave, hurry).install()
    if queues:
        from ...kernel.queries.system import check_queue

        for name in queues:
            check_queue(name, scheduler.definitions.values())
    await scheduler.start(queues=queues)
    try:
        trim_after_start()
        jobs, broken = len(scheduler.definitions), len(scheduler.broken)
        click.echo(f"Database  {chosen.shown_database_url}")
        click.echo(f"Jobs      {jobs} found in {chosen.jobs_package}, {broken} broken")
        for line in broken_lines(scheduler):
            click.echo(visible(line, lines=True))
        click.echo(f"Queues    {', '.join(queues) if queues else 'all'}")
        await stop.wait()
        click.echo(
            f"Stopping  waits up to {chosen.shutdown_grace:g} s for running jobs; Ctrl-C: hand them back now"
        )
    finally:
        await scheduler.stop()
