"""``targcc run``: single runs, their files, and following a run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...core import humanize
from ...core.errors import FileError
from ...core.search_language import joined
from ...core.states import FINAL, RunState
from ...core.stored_values import safe_name
from ...project import current
from ...schedules.zones import parse_zone
from ..attempts import failed_lines, next_attempt
from ..common import run
from ..completing import job_names
from ..connect import connect, path
from ..group import ChoiceError, CliError, Commands, NotOverError, OutputError
from ..output import (
    as_shown,
    done,
    full_option,
    json_option,
    limit_option,
    print_json,
    print_pairs,
    print_table,
    shows,
    timeout_option,
    wait_options,
    when,
)
from ..profiles import server

if TYPE_CHECKING:
    from ...kernel.queries.models import Attempt, LogLine
    from ...web.api.schema import DoneOut
    from ...web.api.schemas import (
        CancelledOut,
        ChainStandingOut,
        FileOut,
        JobDetailOut,
        LineOut,
        LineStepOut,
        RunDetailOut,
        RunOut,
        StartedOut,
        SystemOut,
    )
    from ..transport import Api


# Local files as arguments: ``--arg report=@orders.csv``.

_IS_FILE = '"contentEncoding": "base64"'
"""Part of a JSON Schema that only parameters for files have."""


async def files_among(api: Api, job: str, given: dict[str, Any]) -> dict[str, Path]:
    """Remove from ``given`` the arguments ``@PATH`` whose parameter takes a file, and return their paths by argument.

    Raises:
        BadParameter: the file does not exist.
    """
    named = [name for name, value in given.items() if str(value).startswith("@")]
    if not named:
        return {}
    job_detail: JobDetailOut = await api.get(path("jobs", job))
    known = (job_detail.parameters or {}).get("properties", {})
    files = {}
    for name in named:
        if _IS_FILE in json.dumps(known.get(name, {})):
            files[name] = Path(given.pop(name)[1:])
            if not files[name].is_file():
                raise click.BadParameter(f"there is no file {files[name]}", param_hint="--arg")
    return files


async def send(api: Api, job: str, wish: dict[str, Any], files: dict[str, Path]) -> StartedOut:
    """Start a run, with the files as parts of a form."""
    fields = {name: str(value) for name, value in wish.items()}
    fields["arguments"] = json.dumps(wish["arguments"])
    fields["after"] = ",".join(map(str, wish["after"]))
    if not wish["after"]:
        del fields["after"]
    with contextlib.ExitStack() as stack:
        parts = [
            (name, (file.name, stack.enter_context(file.open("rb"))))
            for name, file in files.items()
        ]
        begun: StartedOut = await api.send_files(
            path("jobs", job, "trigger", "files"), fields, parts
        )
    return begun


# Following a run: print its log lines until the run is over.

_LINES = 500
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


async def until_over(
    api: Api,
    run_id: int,
    patience: timedelta | None,
    say: Callable[[LogLine], None] | None,
    *,
    once: bool = False,
    on_failed: Callable[[RunDetailOut, Attempt], None] | None = None,
) -> RunDetailOut:
    """Wait until a run is over, and return the run.

    Args:
        api: API that has the run.
        run_id: Id of the run.
        patience: Longest wait; ``None`` waits without limit.
        say: Function called with each log line, in order.
        once: True returns after the lines written so far, without a wait.
        on_failed: Function called with each failed attempt, in order, after the attempt's lines.

    Raises:
        CliError: the run does not exist, or the time is up.
    """
    deadline = None if patience is None else time.monotonic() + patience.total_seconds()
    after, attempts, pause = 0, 0, _FIRST_PAUSE
    while True:
        # Read the run before its lines: if the run is over, all its lines are stored by then.
        detail: RunDetailOut = await api.get(path("runs", run_id))
        lines = await _lines(api, run_id, after) if say is not None else []
        for line in lines:
            after = line.id
            if say is not None:
                say(line)
        if len(lines) == _LINES:
            continue
        for attempt in detail.attempts[attempts:]:
            if on_failed is not None and not attempt.success:
                on_failed(detail, attempt)
        attempts = max(attempts, len(detail.attempts))
        if detail.state in FINAL or once:
            return detail
        if deadline is not None and time.monotonic() >= deadline:
            raise NotOverError(
                f"run {run_id} is still {humanize.STATE_WORDS[detail.state]}; it goes on"
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


async def _lines(api: Api, run_id: int, after: int) -> list[LogLine]:
    lines: list[LogLine] = await api.rows(path("runs", run_id, "log"), after=after, limit=_LINES)
    return lines


# Chains as text: the rollup state and the runs.


def rollup_state(chain: ChainStandingOut | LineOut) -> str:
    """Format a chain's rollup state: ``failed at CheckOrders, run 13``."""
    if chain.state is None:
        return "no runs yet"
    state = humanize.STATE_WORDS[chain.state]
    return state if chain.state == "succeeded" else f"{state} at {chain.at}, run {chain.run_id}"


def print_chain(chain: LineOut, run_id: int) -> None:
    """Print the runs of a chain, each run indented below its dependencies; a star marks the run ``run_id``."""
    for depth, level in enumerate(chain.levels, 1):
        for step in level:
            mark = "*" if (step.kind, step.id) == ("run", run_id) else "-"
            click.echo(as_shown(f"{'  ' * depth}{mark} {_said(step)}"))


def _said(step: LineStepOut) -> str:
    what = f"run {step.id} of {step.job}" if step.kind == "run" else f"batch {step.id}"
    return f"{what} {humanize.STATE_WORDS[RunState(step.state)]}" if step.state else what


# ``targcc run``: show, change and await single runs.

_FAILED = 1


@click.group("run", cls=Commands)
def run_group() -> None:
    """List, show, cancel and retry runs."""


@run_group.command("list")
@click.argument("search", nargs=-1)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([*RunState], case_sensitive=False),
    help="Only runs in this state. May be repeated.",
)
@click.option("--job", shell_complete=job_names, help="Only runs of this job.")
@click.option(
    "--text",
    default="",
    help="Only runs with this text in the job's name, the message, the arguments or the name of the person or program that started them.",
)
@limit_option
@click.option("--before", type=int, help="Only runs older than this run.")
@shows
def list_runs(
    *,
    search: tuple[str, ...],
    states: tuple[str, ...],
    job: str | None,
    text: str,
    limit: int,
    before: int | None,
    as_json: bool,
) -> None:
    """List runs, newest first. SEARCH filters the runs; the options are short forms of its terms.

    \b
    Example:
      targcc run list 'job:Daily* state:failed since:yesterday "timeout" not by:dana'
      targcc run list arg.customer:42 'took:>5m' node:web-2
      targcc run list --state failed --job DailyReport
    """

    async def work() -> None:
        async with connect() as api:
            runs: list[RunOut] = await api.rows(
                path("runs"),
                limit=limit,
                field="runs",
                q=joined(*search),
                state=states,
                job=job,
                text=text,
                before=before,
            )
        if as_json:
            print_json({"runs": runs, "next_before": runs[-1].id if len(runs) == limit else None})
        else:
            _print_runs(runs, api.now)

    run(work())


def _print_runs(runs: Sequence[RunOut], now: datetime) -> None:
    if not runs:
        click.echo("No runs match.")
        return
    print_table(
        ["RUN", "STATE", "JOB", "WHEN", "TOOK", "ATTEMPT", "BY", "MESSAGE"],
        [
            [
                str(row.id),
                humanize.STATE_WORDS[row.state],
                row.job,
                when(row.started_at or row.due_at, now),
                humanize.milliseconds(row.duration_ms),
                str(row.attempt or ""),
                row.triggered_by,
                _unknown(row, now) or humanize.last_line(row.message),
            ]
            for row in runs
        ],
    )


@run_group.command("show")
@click.argument("run_id", type=int)
@shows
def show_run(run_id: int, *, as_json: bool) -> None:
    """Show one run with its state changes, error and log.

    \b
    Example:
      targcc run show 42
    """

    async def work() -> None:
        async with connect() as api:
            _show(await _details(api, run_id), api.now, as_json=as_json)

    run(work())


def _show(run: RunDetailOut, now: datetime, *, as_json: bool) -> None:
    if as_json:
        print_json(run)
        return
    print_pairs(_facts(run, now))
    if run.chain is not None:
        print_chain(run.chain, run.id)
    for entry in run.life:
        state = humanize.STATE_WORDS.get(RunState(entry.state), entry.state)
        click.echo(f"  {when(entry.at, now)}  {state}  {as_shown(entry.note)}".rstrip())
    for line in run.log:
        click.echo(as_shown(_log_line(line), lines=True))
    failure = next((attempt for attempt in reversed(run.attempts) if not attempt.success), None)
    if failure is not None and run.state != RunState.SUCCEEDED:
        click.echo(as_shown(failure.traceback or failure.error or "", lines=True))


async def _details(api: Api, run_id: int) -> RunDetailOut:
    detail: RunDetailOut = await api.get(path("runs", run_id))
    return detail


def _facts(run: RunDetailOut, now: datetime) -> list[tuple[str, str]]:
    return [
        ("run", f"{run.id} of {run.job}"),
        ("state", humanize.STATE_WORDS[run.state]),
        ("stopping", run.stop_note or ""),
        ("waits", _unknown(run, now)),
        ("message", run.message or ""),
        ("arguments", humanize.arguments(run.arguments)),
        ("started by", run.triggered_by),
        ("due", when(run.due_at, now)),
        ("expires", when(run.expires_at, now) if run.expires_at and not run.attempt else ""),
        ("unique by", run.unique_by),
        ("took", humanize.milliseconds(run.duration_ms)),
        ("attempt", str(run.attempt or "")),
        ("queue", run.queue),
        ("server", run.server or ""),
        ("chain", rollup_state(run.chain) if run.chain is not None else ""),
    ]


def _unknown(run: RunOut, now: datetime) -> str:
    if run.unknown_since is None:
        return ""
    refusals = (
        f"{refusal.node} (release {refusal.release}): {refusal.why}" for refusal in run.refusals
    )
    return f"no node knows it since {when(run.unknown_since, now)}; asked: {'; '.join(refusals)}"


def _to_stderr(line: LogLine) -> None:
    click.echo(as_shown(_log_line(line), lines=True), err=True)


def _log_line(line: LogLine) -> str:
    local = line.at.astimezone(parse_zone(current().timezone))
    return f"  {local:%H:%M:%S} {line.level.lower():<7} {line.message}"


@run_group.command("watch")
@click.argument("run_id", type=int)
@timeout_option
@full_option
@json_option
def watch_run(run_id: int, *, timeout: timedelta | None, full: bool, as_json: bool) -> None:
    """Follow a run until it ends. Prints the log and each failed attempt to stderr, then the result. Exit status 1 unless the run succeeded.

    \b
    Example:
      targcc run watch 42 --timeout 10m
    """

    async def work() -> None:
        async with connect() as api:
            await _to_its_end(api, run_id, timeout, full=full, as_json=as_json)

    run(work())


@run_group.command("log")
@click.argument("run_id", type=int)
@click.option(
    "--follow", "-f", "following", is_flag=True, help="Follow the log until the run ends."
)
@json_option
def print_log(run_id: int, *, following: bool, as_json: bool) -> None:
    """Print the log of a run.

    \b
    Example:
      targcc run log 42 --follow
    """
    lines: list[LogLine] = []

    def say(line: LogLine) -> None:
        click.echo(as_shown(_log_line(line).strip(), lines=True))

    async def work() -> None:
        async with connect() as api:
            line_handler = lines.append if as_json else say
            await until_over(api, run_id, None, line_handler, once=not following)
        if as_json:
            print_json(lines)

    run(work())


@run_group.command("cancel")
@click.argument("run_id", type=int)
@json_option
def cancel_run(run_id: int, *, as_json: bool) -> None:
    """Cancel a run. A waiting run ends at once. A running job is asked to stop, and stopped after a grace period.

    \b
    Example:
      targcc run cancel 42
    """

    async def work() -> None:
        async with connect() as api:
            answer: CancelledOut = await api.post(path("runs", run_id, "cancel"))
        done(answer.message, as_json=as_json, run_id=run_id, state=answer.state)

    run(work())


@run_group.command("fail")
@click.argument("run_id", type=int)
@json_option
def fail_run(run_id: int, *, as_json: bool) -> None:
    """Fail a run that waits for a server that knows its job and arguments.

    \b
    Example:
      targcc run fail 42
    """

    async def work() -> None:
        async with connect() as api:
            answer: DoneOut = await api.post(path("runs", run_id, "fail"))
        done(answer.message, as_json=as_json, run_id=run_id)

    run(work())


@run_group.command("retry")
@click.argument("run_id", type=int)
@wait_options
@full_option
@json_option
def retry_run(
    run_id: int, *, wait: bool, timeout: timedelta | None, full: bool, as_json: bool
) -> None:
    """Retry an ended run as a new run. A run that waits for its due time starts now.

    \b
    Example:
      targcc run retry 42 --wait
    """

    async def work() -> None:
        async with connect() as api:
            begun: StartedOut = await api.post(path("runs", run_id, "retry"))
        await started(begun, wait=wait, patience=timeout, full=full, as_json=as_json)

    run(work())


async def started(
    begun: StartedOut, *, wait: bool, patience: timedelta | None, full: bool, as_json: bool
) -> None:
    """Print the started run and its address, or wait until the run is over.

    Raises:
        CliError: the time is up.
    """
    if wait:
        await _follow(begun.run_id, patience, full=full, as_json=as_json)
    elif as_json:
        fields = ("run_id", "message", "url", "existing")
        print_json({name: getattr(begun, name) for name in fields})
    else:
        click.echo(as_shown(f"{begun.message}: {begun.url}"))


async def _follow(run_id: int, patience: timedelta | None, *, full: bool, as_json: bool) -> None:
    """Wait until a run is over and print its log. If no server works on the run's queue, run the job in this process."""
    work_on = None
    if server() is None:
        async with connect() as api:
            queue = (await _details(api, run_id)).queue
            work_on = None if await _somebody_works(api, queue) else queue
    if work_on is not None and not as_json:
        click.echo("no server is up: this process runs it", err=True)
    async with connect(work_on=work_on) as api:
        await _to_its_end(api, run_id, patience, full=full, as_json=as_json)


async def _to_its_end(
    api: Api, run_id: int, patience: timedelta | None, *, full: bool, as_json: bool
) -> None:
    """Follow a run to its end; exit with status 1 unless the run succeeds."""

    def on_failed(detail: RunDetailOut, attempt: Attempt) -> None:
        next_at = next_attempt(detail.life, attempt.number)
        for line in failed_lines(attempt, next_at=next_at, now=api.now, full=full):
            click.echo(as_shown(line), err=True)

    if as_json:
        detail = await until_over(api, run_id, patience, None)
    else:
        detail = await until_over(api, run_id, patience, _to_stderr, on_failed=on_failed)
    if as_json:
        _show(detail, api.now, as_json=True)
    else:
        _print_end(detail)
    if detail.state != RunState.SUCCEEDED:
        raise SystemExit(_FAILED)


async def _somebody_works(api: Api, queue: str) -> bool:
    system: SystemOut = await api.get(path("system"))
    return any(
        queue in server.queues
        and server.stopping_at is None
        and server.drain_requested_at is None
        and (api.now - server.heartbeat_at).total_seconds() <= system.lost_after_seconds
        for server in await api.rows(path("servers"))
    )


def _print_end(run: RunDetailOut) -> None:
    took = f" in {humanize.milliseconds(run.duration_ms)}" if run.duration_ms is not None else ""
    summary = f"run {run.id} of {run.job} {humanize.STATE_WORDS[run.state]}{took}"
    click.echo(as_shown(f"{summary}: {run.message}" if run.message else summary, lines=True))


# ``targcc run files`` and ``targcc run download``.


@run_group.command("files")
@click.argument("run_id", type=int)
@shows
def run_files(run_id: int, *, as_json: bool) -> None:
    """List the files of a run: files from its arguments and files that its job attached.

    \b
    Example:
      targcc run files 42
    """

    async def work() -> None:
        async with connect() as api:
            files: list[FileOut] = await api.rows(path("runs", run_id, "files"))
        if as_json:
            print_json(files)
        elif not files:
            click.echo("It has no files.")
        else:
            print_table(
                ["NAME", "KIND", "SIZE", "TYPE", "KEPT"],
                [
                    [
                        file.name,
                        "result" if file.kind == "result" else "argument",
                        humanize.size(file.size),
                        file.content_type,
                        when(file.created_at, api.now),
                    ]
                    for file in files
                ],
            )

    run(work())


@run_group.command("download")
@click.argument("run_id", type=int)
@click.argument("name", required=False)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Target folder or file name. Default: the current folder.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@json_option
def download_file(run_id: int, name: str | None, *, to: Path, force: bool, as_json: bool) -> None:
    """Save a file of a run. NAME may be omitted when the job attached a single file.

    \b
    Example:
      targcc run download 42
      targcc run download 42 report.csv --to /tmp
    """

    async def work() -> None:
        async with connect() as api:
            files: list[FileOut] = await api.rows(path("runs", run_id, "files"))
            chosen_file = _chosen(run_id, files, name)
            target = _target(to, chosen_file.name, force=force)
            partly = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
            try:
                with partly.open("xb") as file:  # fails if a file or link of this name exists
                    async for piece in api.content(path("runs", run_id, "files", chosen_file.id)):
                        file.write(piece)
                partly.replace(target)
            except FileError as error:
                raise CliError(str(error), code=error.code) from None
            except OSError as error:
                raise OutputError(f"{target} cannot be written: {error.strerror}") from None
            finally:
                with contextlib.suppress(OSError):
                    partly.unlink(missing_ok=True)
        done(f"{target}: {humanize.size(chosen_file.size)}", as_json=as_json, path=str(target))

    run(work())


def _target(to: Path, name: str, *, force: bool) -> Path:
    target = to / safe_name(name) if to.is_dir() else to
    if target.exists() and not force:
        raise OutputError(f"{target} is there already: --force replaces it")
    return target


def _chosen(run_id: int, files: list[FileOut], name: str | None) -> FileOut:
    """Return the file to download: the file of this name, else the run's result.

    Raises:
        CliError: no file matches, or several different files do.
    """
    fit = [file for file in files if file.name == name] if name else _results(files)
    if len({file.sha256 for file in fit}) == 1:
        return fit[-1]
    names = ", ".join(file.name for file in files) or "none"
    raise ChoiceError(f"which file of run {run_id}? It has {names}: targcc run files {run_id}")


def _results(files: list[FileOut]) -> list[FileOut]:
    return [file for file in files if file.kind == "result"]
