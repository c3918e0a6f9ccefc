"""`targcc-gen schema`: print the JSON Schemas of the spec and of `--json` outputs."""

from __future__ import annotations

import click

_NAMES = ("spec", "plan", "status", "doctor", "blueprints", "explain", "codes", "errors")


@click.command
@click.argument("what", default="spec", type=click.Choice(_NAMES))
def schema(what: str) -> None:
    """Print the JSON Schema of targcc.yaml, or of the JSON output of commands.

    With the schema of targcc.yaml, editors complete keys and mark mistakes. A generated project has this schema in
    .targcc/schema.json, named in the first line of its targcc.yaml. The other schemas are for programs that read a plan, a status
    or a doctor report. Later releases keep all keys and may add keys. Each object has schema_version: 1.
    `errors` is the output of a failed command with --json: code, error_code, message, file, line, column and hint of each error.
    `codes` is the output of `explain --json` for codes of errors.

    \b
    Example:
      targcc-gen schema > targcc.schema.json
      targcc-gen schema plan
      targcc-gen schema errors
    """
    import json

    from targcc_gen.cli.json_output import schema_of

    click.echo(json.dumps(schema_of(what), indent=2, ensure_ascii=False))
