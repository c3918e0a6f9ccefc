"""`targcc-gen doctor`: check the machine and the project for common faults."""

from __future__ import annotations

from pathlib import Path

import click

from targcc_gen.cli.options import project_option
from targcc_gen.errors import CheckFailed, InputError
from targcc_gen.visible import visible

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(short_help="Check this machine and the project for common problems.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@project_option
def doctor(*, as_json: bool, project: Path | None) -> None:
    """Check this machine and the project, if any. Nothing is changed.

    Checks Python, uv, time zones and the port, and the project's spec, lock, database and environment. Exit status 1 when
    a check fails.

    \b
    Example:
      targcc-gen doctor
    """
    from targcc_gen.cli.checks import machine_findings, project_findings
    from targcc_gen.cli.project import find_root

    findings = list(machine_findings())
    try:
        root = find_root(project)
    except InputError:
        if project is not None:
            raise
    else:
        findings += project_findings(root)
    if as_json:
        from dataclasses import asdict

        from targcc_gen.cli.json_output import print_json

        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(
                f"{click.style(f'{finding.level:<5}', fg=_COLORS[finding.level])} {visible(finding.what)}"
            )
            if finding.advice:
                click.echo(f"      {finding.advice}")
    failed = sum(finding.level == "fail" for finding in findings)
    if failed:
        raise _Unhealthy(f"{failed} thing{'' if failed == 1 else 's'} will not work.")


class _Unhealthy(CheckFailed):
    """A check failed."""

    code = "TG213"
    prefix = ""
