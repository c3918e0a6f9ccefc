"""`targcc-gen explain`: print the value of a key of the spec, and the place that sets it."""

from __future__ import annotations

from pathlib import Path

import click

from targcc_gen.cli.options import project_option


@click.command(short_help="Show the effective value of a spec key and its origin.")
@click.argument("path")
@click.option(
    "--environment", metavar="NAME", help="Environment of the project: a name from the spec."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@project_option
def explain(path: str, *, environment: str | None, as_json: bool, project: Path | None) -> None:
    """Show the effective value of PATH and its origin: targcc.yaml, an extended file, or an environment.

    \b
    Example:
      targcc-gen explain jobs.DailyReport.timeout --environment staging
      targcc-gen explain defaults.retries
    """
    from targcc_gen.cli.project import SPEC_FILE, open_project, shown
    from targcc_gen.spec.explain import explain as said_of
    from targcc_gen.spec.shared import layers_of

    opened = open_project(project)
    layers = layers_of(opened.text, opened.root, shown(opened.root / SPEC_FILE))
    first, *others = said_of(path, opened.spec, layers, environment)
    if as_json:
        from targcc_gen.cli.json_output import print_json

        data = {
            "path": path,
            "environment": environment,
            "value": first.value,
            "origin": first.origin,
            "overrides": [{"value": setting.value, "origin": setting.origin} for setting in others],
        }
        print_json(data)
        return
    value = "none" if first.value is None else first.value
    click.echo(f"{path} = {value}   {first.origin}")
    for setting in others:
        click.echo(
            f"  over {'none' if setting.value is None else setting.value}   {setting.origin}"
        )
