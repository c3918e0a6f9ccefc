"""`targcc-gen explain`: print the text of an error code, or the value of a key of the spec and the place that sets it."""

from __future__ import annotations

import re
from pathlib import Path

import click

from targcc_gen.cli.options import project_option

_CODE = re.compile(r"t[gs]\w{1,4}", re.IGNORECASE)


@click.command(short_help="Explain an error code, or the origin of a spec key's value.")
@click.argument("paths", metavar="CODE... | KEY", nargs=-1)
@click.option(
    "--environment", metavar="NAME", help="Environment of the project: a name from the spec."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@project_option
def explain(
    paths: tuple[str, ...], *, environment: str | None, as_json: bool, project: Path | None
) -> None:
    """Explain errors by the CODEs that messages show, or the value of a KEY of the spec.

    A code, such as TG201, gets its meaning, an example and the next step; without arguments all codes are listed. A key gets its effective value and
    the origin: targcc.yaml, an extended file, or an environment.

    \b
    Example:
      targcc-gen explain TG201
      targcc-gen explain jobs.DailyReport.timeout --environment staging
      targcc-gen explain defaults.retries
    """
    if all(_CODE.fullmatch(path) for path in paths):
        _explain_codes(paths, as_json=as_json)
        return
    if len(paths) > 1:
        raise click.UsageError("give one key of the spec, or codes of errors")
    (path,) = paths
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


def _explain_codes(codes: tuple[str, ...], *, as_json: bool) -> None:
    """Print the texts of codes; without codes, a list of all codes."""
    from targcc_scheduler.core import error_codes

    from targcc_gen.assets import ERROR_CODES
    from targcc_gen.errors import UnknownCodeError

    known = error_codes.explanations(ERROR_CODES) | error_codes.explanations()
    for code in codes:
        if code.upper() not in known:
            raise UnknownCodeError(
                f"no error has the code {code}{error_codes.nearest(code, known)}",
                hint="targcc-gen explain lists all codes.",
            )
    shown = [known[code.upper()] for code in codes] or list(known.values())
    if as_json:
        from dataclasses import asdict

        from targcc_gen.cli.json_output import print_json

        data = [
            {**asdict(explanation), "manual": error_codes.address(explanation.code)}
            for explanation in shown
        ]
        print_json({"codes": data})
    elif codes:
        click.echo("\n\n\n".join(explanation.text() for explanation in shown))
    else:
        click.echo("\n".join(f"{explanation.code}  {explanation.title}" for explanation in shown))
