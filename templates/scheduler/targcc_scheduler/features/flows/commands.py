"""``targcc flow``: list, show, start, rerun and cancel flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...cli.commands.jobs import argument_options, arguments_of
from ...cli.common import run
from ...cli.completing import flow_names
from ...cli.connect import connect, path
from ...cli.group import Commands
from ...cli.output import json_option, print_json, print_pairs, print_table, shows, when

if TYPE_CHECKING:
    from .schemas import FlowOut


@click.group("flow", cls=Commands)
def flow_group() -> None:
    """Start, list, show, rerun and cancel flows."""


@flow_group.command("list")
@click.option("--name", shell_complete=flow_names, help="Only flows of this name.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, help="Maximum number of flows.")
@shows
def list_flows(name: str | None, *, limit: int, as_json: bool) -> None:
    """List flows, newest first.

    \b
    Example:
      targcc flow list --name MonthEnd
    """

    async def work() -> None:
        async with connect() as api:
            flows: list[FlowOut] = await api.rows(path("flows"), name=name, limit=limit)
            now = api.now
        if as_json:
            print_json(flows)
        elif not flows:
            click.echo("No flows yet. Declare them in targcc.yaml under flows.")
        else:
            rows = [
                [str(flow.id), flow.name, flow.state, when(flow.created_at, now)] for flow in flows
            ]
            print_table(["ID", "FLOW", "STATE", "BEGAN"], rows)

    run(work())


@flow_group.command("show")
@click.argument("flow_id", type=int, metavar="ID")
@shows
def show(flow_id: int, *, as_json: bool) -> None:
    """Show one flow with its steps.

    \b
    Example:
      targcc flow show 7
    """

    async def work() -> None:
        async with connect() as api:
            flow: FlowOut = await api.get(path("flows", flow_id))
        _print(flow, as_json=as_json)

    run(work())


@flow_group.command("start")
@click.argument("name", shell_complete=flow_names)
@argument_options
@json_option
def start(name: str, *, pairs: tuple[str, ...], arguments: str | None, as_json: bool) -> None:
    """Start a flow.

    \b
    Example:
      targcc flow start MonthEnd --arg month=2026-10
    """
    given = arguments_of(pairs, arguments)

    async def work() -> None:
        async with connect() as api:
            wish = {"name": name, "arguments": given}
            begun: FlowOut = await api.post(path("flows"), body=wish)
        _print(begun, as_json=as_json)

    run(work())


@flow_group.command("rerun")
@click.argument("flow_id", type=int, metavar="ID")
@click.option(
    "--from", "step", help="Rerun this step and all later steps. Default: the failed steps."
)
@json_option
def rerun(flow_id: int, *, step: str | None, as_json: bool) -> None:
    """Rerun a flow from a step on.

    \b
    Example:
      targcc flow rerun 7 --from load
    """

    async def work() -> None:
        async with connect() as api:
            wish = {"from_step": step}
            begun: FlowOut = await api.post(path("flows", flow_id, "rerun"), body=wish)
        _print(begun, as_json=as_json)

    run(work())


@flow_group.command("cancel")
@click.argument("flow_id", type=int, metavar="ID")
@json_option
def cancel(flow_id: int, *, as_json: bool) -> None:
    """Cancel a flow: its runs are cancelled and no further step starts.

    \b
    Example:
      targcc flow cancel 7
    """

    async def work() -> None:
        async with connect() as api:
            flow: FlowOut = await api.post(path("flows", flow_id, "cancel"))
        _print(flow, as_json=as_json)

    run(work())


def _print(flow: FlowOut, *, as_json: bool) -> None:
    if as_json:
        print_json(flow)
        return
    print_pairs(
        [
            ("flow", f"{flow.id}  {flow.name}"),
            ("state", flow.state),
            ("started by", flow.created_by),
        ]
    )
    print_table(
        ["STEP", "JOB", "AFTER", "STATE", "RUNS", "WHY"],
        [
            [
                step.name,
                step.job,
                ", ".join(step.after),
                step.state,
                ", ".join(f"{count} {state}" for state, count in sorted(step.runs.items())),
                step.why,
            ]
            for step in flow.steps
        ],
    )
