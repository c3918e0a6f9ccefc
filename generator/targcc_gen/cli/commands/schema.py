"""`targcc-gen schema`: print the JSON Schemas of the spec and of `--json` outputs."""

from __future__ import annotations

import click

_NAMES = ("spec", "plan", "status", "doctor", "blueprints", "explain", "errors")


@click.command
@click.argument("what", default="spec", type=click.Choice(_NAMES))
def schema(what: str) -> None:
    """Print the JSON Schema of targcc.yaml, or of what commands print with --json.

    Editors that know the first one complete keys and mark mistakes while you type. A generated project has it in
    .targcc/schema.json, and its targcc.yaml names it in the first line. The others are for programs that read a plan, a status,
    or what the doctor found; what is in one stays in later releases, which may add keys. An object says schema_version: 1.
    `errors` is what any command prints with --json when it fails: code, message, file, line, column and hint of each error.

    \b
    Example:
      targcc-gen schema > targcc.schema.json
      targcc-gen schema plan
      targcc-gen schema errors
    """
    import json

    from targcc_gen.cli.json_output import schema_of

    click.echo(json.dumps(schema_of(what), indent=2, ensure_ascii=False))
